"""The page keeps its worker busy: a frame is there before it is done with the last."""

FOLLOW = """async (failing) => {
    const { Analyst } = await import('/ui/analyst.mjs');
    const log = [];
    async function* frames() {
        try {
            for (const time of [0, 1, 2]) yield { image: `pixels ${time}`, time };
        } finally {
            log.push('closed');
        }
    }
    const answers = [];
    const look = ({ image, time, still }) => {
        log.push(`sent ${image}`);
        return new Promise((resolve, reject) => {
            const answer = { image, faces: [still], milliseconds: time };
            answers.push(() => (time === failing ? reject(new Error(`no ${time}`)) : resolve(answer)));
        });
    };
    const loop = async () => {
        const followed = Analyst.prototype.follow.call({ look }, frames(), true);
        for await (const { image, time, faces, milliseconds } of followed) {
            log.push(`shown ${image} ${time} ${faces} ${milliseconds}`);
        }
    };
    const done = loop().catch((error) => log.push(error.message));
    for (const number of [0, 1, 2]) {
        await new Promise((resolve) => setTimeout(resolve));
        log.push(`answer ${number}`);
        answers[number]?.();
    }
    await done;
    return log;
}"""


def test_the_next_frame_is_sent_before_the_answer_about_one(modules):
    assert modules(FOLLOW, None) == [
        "sent pixels 0",
        "sent pixels 1",
        "answer 0",
        "shown pixels 0 0 true 0",
        "sent pixels 2",
        "answer 1",
        "shown pixels 1 1 true 1",
        "closed",
        "answer 2",
        "shown pixels 2 2 true 2",
    ]


def test_an_error_about_a_frame_ends_its_source(modules):
    log = modules(FOLLOW, 1)
    assert log[log.index("answer 1") :][:3] == ["answer 1", "closed", "no 1"]
    assert not [line for line in log if line.startswith("shown pixels 2")]
