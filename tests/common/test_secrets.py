"""Secrets by value and by form, and texts that only look like them."""

import pytest

from artquant_plugin.common.secrets import (
    address_secrets,
    each_text,
    secret_values,
    without_keys,
    without_secret_settings,
    without_secrets,
)

KEY = "sk/very+secret-77"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"You sent {KEY}!", "You sent [key]!"),
        (f"x{KEY}x{KEY}", "x[key]x[key]"),  # inside of a word, and twice
        ("https://h/?k=sk%2Fvery%2Bsecret-77", "https://h/?k=[key]"),
        (r"sk\/very\u002bsecret-77 sk/\u0076ery\u002Bsecret-77", "[key] [key]"),  # as JSON may write it
        ("sk&#47;very&#x2b;secret-77", "[key]"),  # as HTML may
        ("c2svdmVyeStzZWNyZXQtNzc=", "[key]="),  # in base64
        ("Bearer abcdefgh1234", "Bearer [key]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [key]"),
        ("postgres://ann:pw@host/db", "postgres://[key]@host/db"),
        ("sk-proj-abcdefghij0123456789", "[key]"),
        ("hf_abcdefghijklmnopqrstuv", "[key]"),
        ("AKIAABCDEFGHIJKLMNOP", "[key]"),
        ("gsk_abcdefghij0123456789", "[key]"),
        ("nvapi-abcdefghij0123456789", "[key]"),
        ("ya29.abcdefghij0123456789", "[key]"),
        ("Authorization: Bearer ab12", "Authorization: Bearer [key]"),
        ("https://ann:p@ss@host/db", "https://[key]@host/db"),  # a password with "@" in it
        ("x-api-key: a1b2c3", "x-api-key: [key]"),
        ('{"api_key": "a1b2c3"}', '{"api_key": "[key]"}'),
        ("GET https://host/v1?api_key=a1b2c3&n=1", "GET https://host/v1?api_key=[key]&n=1"),
        (
            "https://host/b?X-Amz-Credential=a1b2/c3&X-Amz-Signature=d4e5",
            "https://host/b?X-Amz-Credential=[key]&X-Amz-Signature=[key]",
        ),
        ("access_key_id=a1b2c3", "access_key_id=[key]"),
        ("Cookie: session=a1b2; id=c3", "Cookie: [key]"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=a1/b2, Signature=c3", "Authorization: AWS4-HMAC-SHA256 [key]"),
        ("AWS_SECRET_ACCESS_KEY=a1b2c3", "AWS_SECRET_ACCESS_KEY=[key]"),
        ("secretAccessKey: a1b2c3", "secretAccessKey: [key]"),
        ("AWS_SESSION_TOKEN=a1b2c3 HF_TOKEN=d4e5f6", "AWS_SESSION_TOKEN=[key] HF_TOKEN=[key]"),
        ("https://h/v1?api-version=1&subscription-key=a1b2", "https://h/v1?api-version=1&subscription-key=[key]"),
        ("https://h/b?X-Goog-Signature=a1b2&code=c3d4", "https://h/b?X-Goog-Signature=[key]&code=[key]"),
    ],
)
def test_a_secret_is_replaced(text, shown):
    assert without_keys(text, [KEY, None]) == shown


@pytest.mark.parametrize(
    "text",
    [
        "The key: a low horizon. Its token gesture = none; a password to nowhere.",
        "A basic composition, a bearer of light.",
        "A cookie: round, brown; and the authorization: digest of a museum.",
        "A standard-bearer stands tall.",
        "Set api_key=none; the access token: hidden. What is the secret? Private keys: two.",
        "ann@host.org and https://example.org/a@b",
        "risk-averse brushwork of the task-force",
    ],
)
def test_a_models_prose_is_kept(text):
    assert without_keys(text, [KEY]) == text


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://host:8000/v1", []),
        ("http://t0ken@host/v1", ["t0ken"]),
        ("http://ann:p%2Fw@host/v1", ["p/w", "ann:p/w"]),
        ("http://host/v1?api_key=abcd%2F1234&model=m", ["abcd/1234"]),
        ("http://[::1/v1", []),
    ],
)
def test_the_secrets_of_an_address_are_found(url, secrets):
    assert address_secrets(url) == secrets


def test_a_short_key_is_replaced_as_a_word_of_its_own_and_a_shorter_one_never():
    assert without_keys("test: a tested test", ["test"]) == "[key]: a tested [key]"
    assert without_keys("a sky in no hurry", ["no", "a", ""]) == "a sky in no hurry"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("model=x,api_key=sk-1,n=2", "model=x,api_key=***,n=2"),
        ('{"hf_token": "a b, c", "max_new_tokens": 5}', '{"hf_token": ***, "max_new_tokens": 5}'),
        ("password='a b',tokenizer=t", "password=***,tokenizer=t"),
        ("api_keys=a1b2,n=1", "api_keys=***,n=1"),
        ("auth=a1b2,n=1", "auth=***,n=1"),
        ("pass=a1b2,n=1", "pass=***,n=1"),
        ("access_key_id=a1b2,n=1", "access_key_id=***,n=1"),
        ("aws_secret_access_key=a1b2", "aws_secret_access_key=***"),
        ("OPENAI_API_KEY=a1b2", "OPENAI_API_KEY=***"),
        ("accessToken: a1b2", "accessToken: ***"),
        ("headers={'Authorization': 'Bearer a b'}", "headers={'Authorization': ***}"),
        ("Authorization: Bearer xyz,n=1", "Authorization: ***,n=1"),
        ('{"api_key": "a\\"b"}', '{"api_key": ***}'),
        ("base_url=https://me:pw@host/v1,n=1", "base_url=https://[key]@host/v1,n=1"),
        ('{"api_keys": ["a1", "b2"], "n": 1}', '{"api_keys": ***, "n": 1}'),
        ("api_keys=['a1', 'b2'],n=1", "api_keys=***,n=1"),
        ("api_keys=a1;b2|c3,n=1", "api_keys=***,n=1"),
        ("auth=a1;n=1", "auth=***;n=1"),
        ("Cookie: a1; b2", "Cookie: ***"),
        ("Set-Cookie: a=a1; b=b2; Expires=Wed, 09 Nov\nn=1", "Set-Cookie: ***\nn=1"),
        ('{"Cookie": "a=a1; b=b2", "n": 1}', '{"Cookie": ***, "n": 1}'),
        ("api_keys=a1 b2", "api_keys=***"),
        ("api_keys=a1 b2 n=1", "api_keys=*** n=1"),
        ("api_keys=a1,b2,n=1", "api_keys=***,n=1"),
        ("api_keys=a1, b2 , n=1", "api_keys=*** , n=1"),
        ("passwords: a1 b2", "passwords: ***"),
        ("--api-keys a1 b2 --n 1", "--api-keys *** --n 1"),
        ("Authorization: Token a1,n=1", "Authorization: ***,n=1"),
        ('Authorization: Digest username="ann", response="b2"', "Authorization: ***"),
        ('{"auth": {"user": "a1", "pass": "b2"}, "n": 1}', '{"auth": ***, "n": 1}'),
        ("auth=('ann', 'b2'),n=1", "auth=***,n=1"),
        ("https://host/v1?sig=abc&n=1", "https://host/v1?sig=***&n=1"),
        ("--api-key a1b2 --n 1", "--api-key *** --n 1"),
        ("openaiApiKey=a1b2,secretAccessKey=c3,hfToken=d4", "openaiApiKey=***,secretAccessKey=***,hfToken=***"),
        (
            "bearer=a1,jwt=b2,pat=c3,session_id=d4,passcode=e5",
            "bearer=***,jwt=***,pat=***,session_id=***,passcode=***",
        ),
        ("https://h/v1?code=a1&n=1", "https://h/v1?code=***&n=1"),
        ("curl -u ann:a1b2 --proxy-user bob:c3 https://h/", "curl -u *** --proxy-user *** https://h/"),
        ("pattern=a,path=b,sessions=c,patch=d,code=e", "pattern=a,path=b,sessions=c,patch=d,code=e"),
        ("--hf_token a1b2 --tokens 3", "--hf_token *** --tokens 3"),
        (
            "monkey=1,keyboard=2,bypass=3,author=4,n_tokens=5,tokens=6",
            "monkey=1,keyboard=2,bypass=3,author=4,n_tokens=5,tokens=6",
        ),
    ],
)
def test_a_value_whose_name_says_what_it_is_is_replaced(text, shown):
    assert without_secrets(text) == shown


def test_the_values_of_a_record_are_found_and_words_that_stand_for_none_are_not():
    text = '{"api_key": "first-key-1", "headers": {"Authorization": "Bearer second-key-2"}, "hf_token": "none"}'
    assert secret_values(text) == ["first-key-1", "second-key-2"]
    assert secret_values("model=a/long-model-name,api_key=EMPTY") == []


def test_every_text_of_nested_content_is_changed_and_nothing_else():
    assert each_text({"a": ["b", 1, None, {"a": ("c", True)}]}, str.upper) == {"a": ["B", 1, None, {"a": ["C", True]}]}


@pytest.mark.parametrize(
    "part",
    ["eyJ-", "sk-", "a.", "a_", "bearer ", "key", "https://a", "api_key=", "?key=", "@", "--api", "authorization:"],
)
def test_a_long_text_takes_no_longer_than_its_length_allows(part):
    """A million characters in a second or two; time that grows with the square would take hours."""
    text = part * (1_000_000 // len(part))
    without_keys(text, [KEY])
    without_secrets(text[:50_000])


def test_settings_are_hidden_by_their_names_at_any_depth_and_a_tokenizers_words_are_not():
    settings = {"train": [{"hub_token": "a1", "push_to_hub_token": None, "use_auth_token": True}], "API_KEY": ["b2"]}
    hidden = {"train": [{"hub_token": "***", "push_to_hub_token": None, "use_auth_token": True}], "API_KEY": "***"}
    assert without_secret_settings(settings) == hidden
    assert without_secret_settings({"hubToken": "a", "openaiApiKey": "b", "session_token": "c"}) == {
        "hubToken": "***",
        "openaiApiKey": "***",
        "session_token": "***",
    }
    words = {"eos_token": "</s>", "image_token_id": 3, "max_tokens": 5, "key": "c major", "passage": "x"}
    assert without_secret_settings(words) == words
