"""Secrets and personal data as they turn up in telemetry; what must not survive stands between « and »."""

from __future__ import annotations

TEXTS = {
    "private key": "-----BEGIN RSA PRIVATE KEY-----\n«MIIEowIBAAKCAQEAx3Qk»\n-----END RSA PRIVATE KEY-----",
    "bearer token": "sent with Bearer «b3BhcXVlLXRva2VuLTEyMw» to the peer",
    "basic login": "sent with Basic «ZXJpa2E6Z2VoZWltMTI=» to the peer",
    "JSON web token": "got «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJlcmlrYSJ9.c2lnbmF0dXJl» back",
    "cloud key": "caller «AKIA" + "IOSFODNN7QWERTYU» is unknown",
    "payment key": "charged by «sk_live_4eC39HqLyjWDarjtT1zdp7dc»",
    "code host's token": "cloned with «ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a»",
    "chat token": "told by «xoxb-" + "263594206564-FGqddMF8t08v8N7Oq4i57vs1»",
    "registry token": "published with «npm_vQ4k2LmZ8pXw7RtYbN3cHs6Jf9Dg1Ae5Uo0i»",
    "map key": "asked with «AIzaSyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe»",
    "webhook secret": "signed by «whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw»",
    "e-mail address": "no account for «erika.mustermann@example.org» here",
    "e-mail address in a query": "/find?who=«max.mustermann%40example.org»&page=2",
    "login in a URL": "cannot reach amqp://«worker:hunter2hunter2»@broker:5672/shop",
    "password in a text": "login failed: password=«tr0ub4dor-and-3» for user 7",
    "password in JSON": '{"user": 7, "password": "«correct-horse-battery»"}',
    "password in JSON in a string": '{\\"passwd\\": \\"«swordfish-99-blue»\\"}',
    "password in a connection string": "Server=db;Uid=shop;Pwd=«L0ngEn0ugh2024»;Database=shop",
    "API key": "refused X-Api-Key: «9f8e7d6c5b4a39281706»",
    "refresh token": "grant_type=refresh&refresh_token=«rt-77f3-55aa-1c2d»",
    "cookie": "Cookie: theme=dark; «cart=8801-zz-4411»",
    "login code in a query": "/callback?code=«4-0AX4XfWh-Zq9»&scope=all",
    "state in a query": "/callback?scope=all&state=«af0ifjsldkj-77»",
    "session in a query": "/cart;jump?sid=«s-5512-88ab-9d»",
    "card number": "paid with «4111111111111111» today",
    "card number in groups": "paid with «5500 0000 0000 0004» today",
    "card number of fifteen digits": "paid with «3782-822463-10005» today",
    "account number": "refund to «GB29 NWBK 6016 1331 9268 19» tomorrow",
    "social security number": "applicant «078-05-1120» accepted",
    "telephone number": "call «+49 30 901820 4711» back",
    "values of a statement": "IntegrityError [parameters: ('«Erika Gabler»', 4711)]",
    "a row in a database's error": "Key (name)=(«Erika Gabler») already exists.",
    "a statement in a text": "slow: INSERT INTO people (name) VALUES ('«Wilhelmine Busch»', 3)",
}
"""What is recognised wherever it stands; the names are what `agent.yaml` has a rule for."""

KEYS = {
    "http.request.header.authorization": "Custom «opaque-1-opaque»",
    "http.request.header.cookie": "«theme-dark-77»",
    "http.request.header.x-api-key": "«k-31-31-31»",
    "db.password": "«plain-word-1»",
    "auth.token": "«plain-word-2»",
    "access_token": "«plain-word-3»",
    "user.pin": "«pin-88-41»",
    "card_number": "«plain-word-4»",
    "client.address": "«198.51.100.23»",
    "http.request.header.x-forwarded-for": "«198.51.100.24»",
    "user.email": "«at example dot org»",
    "customer.phone": "«0301234567»",
    "customer.birthdate": "«1970-02-03»",
    "customer.first_name": "«Friedegunde»",
    "baggage": "«who=anybody»",
}
"""What is secret by the name of its attribute, whatever it says."""

HARMLESS = {
    "url.full": "http://127.0.0.1:8080/products/17?page=2&sort=name",
    "http.route": "/products/{sku}",
    "db.query.text": "SELECT name FROM products WHERE sku = $1",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0",
    "note": "paid 0.4222222222222222 after 1764097000123456789 ns at 2026-11-25T19:00:00+0000, build 4f2a9c1",
    "firstcause.verdict.detail": "SELECT * FROM products: 412 ms, ×37",
    "session.id": "0123456789abcdef0123456789abcdef",
    "server.address": "10.0.0.7",
}
"""What must come out as it went in."""


def planted(marked: str) -> str:
    """The text as it is sent."""
    return marked.replace("«", "").replace("»", "")


def secret(marked: str) -> str:
    """What must not survive of it."""
    return marked.partition("«")[2].partition("»")[0]
