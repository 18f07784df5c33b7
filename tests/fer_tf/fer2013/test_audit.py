import numpy as np

from fer_tf import fer2013
from fer_tf.fer2013.audit import audit


def test_copies_and_blanks():
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (6, 48, 48), np.uint8)
    others = images[[4, 1]].copy()
    others[0, 0, 0] ^= 1
    np.testing.assert_array_equal(fer2013.copies(images, others), [False, True, False, False, False, False])
    images[2] = 7
    np.testing.assert_array_equal(fer2013.blanks(images), np.arange(6) == 2)


def test_audit_counts_what_is_there(tmp_path, faces, forms):
    members = forms.members_of(faces)
    names = list(members)
    train, public, private = names[:70], names[70:140], names[140:]
    members[train[1]] = members[train[0]]  # a redundant copy
    members[train[20]] = members[train[10]]  # another, with conflicting labels
    members[public[0]] = members[train[30]]
    members[private[0]] = members[train[30]]
    members[private[1]] = members[public[5]]
    members[private[2]] = forms.png(np.zeros((48, 48), np.uint8))
    text = audit(fer2013.load(forms.write_zip(tmp_path / "data.zip", members)))
    counts = {" ".join(words[:-1]): words[-1] for words in map(str.split, text.splitlines()) if words}
    assert counts["redundant copies inside train"] == "2"
    assert counts["groups of copies in train with conflicting labels"] == "1"
    assert counts["blank images in private (standard deviation below 1)"] == "1"
    assert counts["public images that stand pixel for pixel in train"] == "1"
    assert counts["private images that stand pixel for pixel in train"] == "1"
    assert counts["private images that stand pixel for pixel in public"] == "2"
    assert counts["private images that stand pixel for pixel in either"] == "2"


def test_audit_of_fer2013(fer2013_path):
    data = fer2013.load(fer2013_path)
    assert np.bincount(data.train.labels).tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    tests = np.bincount(np.concatenate([data.public.labels, data.private.labels]))
    assert tests.tolist() == [958, 111, 1024, 1774, 1233, 1247, 831]
    text = audit(data)
    counts = {" ".join(words[:-1]): words[-1] for words in map(str.split, text.splitlines()) if words}
    assert counts["blank images in train (standard deviation below 1)"] == "12"
    assert counts["blank images in public (standard deviation below 1)"] == "1"
    assert counts["redundant copies inside train"] == "1,236"
    assert counts["groups of copies in train with conflicting labels"] == "39"
    assert counts["public images that stand pixel for pixel in train"] == "280"
    assert counts["private images that stand pixel for pixel in train"] == "288"
    assert counts["private images that stand pixel for pixel in public"] == "44"
    assert counts["private images that stand pixel for pixel in either"] == "314"
