import numpy as np
import pytest

from fer_tf.errors import UserError
from fer_tf.ferplus import read_votes

HEADER = "image,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
ROWS = """\
a.jpg,0,10,0,0,0,0,0,0,0,0
b.jpg,4,0,0,4,0,0,0,2,0,0
c.jpg,3,0,0,0,0,0,0,7,0,0
d.jpg,0,0,0,0,0,0,0,0,0,10
e.jpg,0,0,0,0,0,0,0,0,0,0
f.jpg,4,0,0,0,1,0,0,4,1,0
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text(HEADER + ROWS)
    return path


def test_shares_and_majority(table):
    votes = read_votes(table, ["train/happy/a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "missing.jpg"])
    # angry, disgust, fear, happy, neutral, sad, surprise
    np.testing.assert_allclose(
        votes.shares,
        [
            [0, 0, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0.5, 0.5, 0],
            [0, 0, 0, 0, 1, 0, 0],
            [0] * 7,
            [0] * 7,
            [0.2, 0, 0, 0, 0.8, 0, 0],
            [0] * 7,
        ],
    )
    # Neutral comes before sad and before contempt; contempt, no face and no votes leave no majority.
    assert votes.majority.tolist() == [3, 4, -1, -1, -1, 4, -1]


def test_rows_of_the_challenge(tmp_path):
    path = tmp_path / "fer2013new.csv"
    lines = [f"Training,{line}" for line in ROWS.splitlines()]
    path.write_text("Usage," + HEADER.replace("image", "Image name") + "\n".join(lines))
    assert read_votes(path, ["row 2", "row 1"]).majority.tolist() == [4, 3]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "No such file"),
        ("image,neutral\n", "no column anger, disgust"),
        (HEADER + "a.jpg,1,2\n", "a number of votes in each column"),
        (HEADER + "a.jpg,x,0,0,0,0,0,0,0,0,0\n", "a number of votes in each column"),
        (HEADER + "a.jpg,9,0,0,-1,0,0,0,0,0,0\n", "'-1' is not from 0"),
        (HEADER + f"a.jpg,9,0,0,{10**30},0,0,0,0,0,0\n", "000' is not from 0"),
        (HEADER + ROWS.replace(".jpg", ".png"), "none for these images"),
    ],
)
def test_other_files_are_refused(tmp_path, text, complaint):
    if text is not None:
        (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=complaint):
        read_votes(tmp_path / "x.csv", ["a.jpg", "b.jpg"])


def test_the_agreement_with_the_labels_is_the_known_one(fer2013_path):
    """Figures of the data set's own page."""
    from fer_tf import fer2013

    path = fer2013_path.parent / "ferplus_votes.csv"
    if not path.exists():
        pytest.skip("needs ferplus_votes.csv beside FER-2013")
    data = fer2013.load(fer2013_path)
    # Two names in train are those of two images each; the page counts one of each pair.
    for split, count, agreement in (
        (data.train, 28219 - 2, 64.2),
        (data.public, 3529, 63.8),
        (data.private, 3518, 64.3),
    ):
        votes = read_votes(path, split.names)
        known = votes.majority >= 0
        assert known.sum() == count
        assert 100 * (votes.majority == split.labels)[known].mean() == pytest.approx(agreement, abs=0.05)


def test_images_of_the_same_name_get_no_votes(table):
    assert read_votes(table, ["train/happy/a.jpg", "train/sad/a.jpg", "b.jpg"]).majority.tolist() == [-1, -1, 4]
