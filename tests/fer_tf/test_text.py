import pytest

from fer_tf.text import address_name, one_line, printable, without_secrets


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:sesame@camera.example/1", "rtsp://camera.example/1"),
        ("rtsp://user:se/sa?me@camera.example:554/1", "rtsp://camera.example:554/1"),
        ("rtsp://user:my sesame@camera.example/1", "rtsp://camera.example/1"),
        ("rtsp://sesame@camera.example/1?a=b@c", "rtsp://camera.example/1?a=b@c"),
        ("http://camera.example/s?user=a&PWD=sesame&stream=1", "http://camera.example/s?user=a&PWD=***&stream=1"),
        ("rtsp://camera.example:554/user=a_password=sesame/s=0", "rtsp://camera.example:554/user=a_password=***"),
        ("http://camera.example/?loginuse=a&loginpas=sesame", "http://camera.example/?loginuse=a&loginpas=***"),
        ("http://camera.example/?bypass=1&x=2", "http://camera.example/?bypass=1&x=2"),
        ("srt://host:9000?passphrase=sesame&streamid=1", "srt://host:9000?passphrase=***&streamid=1"),
        ("https://h/v.mp4?X-Amz-Signature=sesame&X-Amz-Date=1", "https://h/v.mp4?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/v.m3u8#access_token=sesame", "https://h/v.m3u8#access_token=***"),
        ("http://[::1]:8080/v?apiKey=sesame;t=1", "http://[::1]:8080/v?apiKey=***;t=1"),
        ("http://host/@name/live", "http://host/@name/live"),
    ],
)
def test_an_address_is_named_without_its_secrets(address, name):
    assert address_name(address) == name


@pytest.mark.parametrize(
    "key", ["token", "key", "auth", "sig", "password", "passphrase", "secret", "pass", "Signature"]
)
def test_the_value_of_every_secret_key_is_masked(key):
    assert address_name(f"http://h/?a=1&{key}=sesame&b=2") == f"http://h/?a=1&{key}=***&b=2"


def test_a_message_is_one_line_without_control_characters_or_secrets():
    text = "no \x1b[31mfile\nrtsp://u:p@host/1 \u202egnp.mp4 \udcff Grüße \U0001f600"
    assert one_line(text) == r"no \x1b[31mfile rtsp://host/1 \u202egnp.mp4 \udcff Grüße " + "\U0001f600"
    assert printable("a\nb\tc\x7f\x9b") == r"a\nb\tc\x7f\x9b"
    assert without_secrets("see http://u:p@h/x, then a=b") == "see http://h/x, then a=b"


def test_a_long_message_keeps_its_ends():
    line = one_line("error: a.json: found " + "0.5, " * 100_000 + "; export it again")
    assert len(line) < 1100
    assert line.startswith("error: a.json: found 0.5")
    assert line.endswith("; export it again")
