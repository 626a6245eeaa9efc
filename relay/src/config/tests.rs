//! Settings that are taken and settings that are refused.

use super::*;

fn parse_words(words: &[&str]) -> Result<(Cli, Vec<Setting>), ConfigError> {
    parse(["selvedge-relay"].iter().chain(words).map(OsString::from))
}

fn served(words: &[&str]) -> Config {
    match parse_words(words).unwrap().0.command {
        Command::Serve(config) => *config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_flags_are_the_defaults() {
    assert_eq!(served(&["serve"]), Config::default());
}

#[test]
fn the_file_yields_to_flags_and_beats_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(
        &file,
        "hello-ms = 7000\nframes_burst = 9\nregion = \"a\"\nallow-origin = [\"https://x.example\"]\nrestored = true\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let (cli, settings) = parse_words(&["serve", "--config", path, "--hello-ms", "8000"]).unwrap();
    let Command::Serve(config) = cli.command else { panic!("not serve") };
    assert_eq!((config.limits.hello_ms, config.limits.frames_burst, config.region.as_str()), (8000, 9, "a"));
    assert_eq!(config.listen.allow_origin, ["https://x.example"]);
    assert!(config.restored);
    let origin = |name: &str| settings.iter().find(|setting| setting.name == name).unwrap().origin;
    assert_eq!((origin("hello-ms"), origin("region"), origin("tick-ms")), ("flag", "file", "default"));
}

fn refused(words: &[&str], parts: &[&str]) {
    let message = parse_words(words).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn mistakes_name_flag_value_and_fix() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    refused(&["serve", "--listen", "0.0.0.0:4400"], &["--listen", "0.0.0.0:4400", "fix:", "127.0.0.1:4400"]);
    refused(&["serve", "--jwt-audience", "app"], &["--jwt-audience", "app", "fix:", "--jwt-issuer"]);
    let issuer = ["serve", "--jwt-issuer", "https://id.example"];
    refused(&issuer, &["--jwt-audience", "fix:"]);
    let plain = ["serve", "--jwt-issuer", "http://id.example", "--jwt-audience", "app"];
    refused(&plain, &["--jwt-issuer", "http://id.example", "https://", "fix:", "--jwks-file"]);
    let algorithm =
        ["serve", "--jwt-issuer", "https://id.example", "--jwt-audience", "app", "--jwt-algorithm", "HS256"];
    refused(&algorithm, &["--jwt-algorithm", "HS256", "RS256"]);
    refused(&["serve", "--listen", "nonsense"], &["--listen", "nonsense"]);
    refused(&["serve", "--web", "/nowhere"], &["--web", "/nowhere", "fix:"]);
    refused(&["serve", "--quic", "somewhere"], &["--quic", "somewhere", "off"]);
    refused(&["serve", "--quic", "0.0.0.0:4400"], &["--quic", "0.0.0.0:4400", "fix:"]);
    refused(&["serve", "--tls-cert", "/c.pem"], &["--tls-cert", "/c.pem", "fix:", "--tls-key"]);
    refused(&["serve", "--tls-key", "/k.pem"], &["--tls-key", "/k.pem", "fix:", "--tls-cert"]);
    refused(&["serve", "--advertise", "relay.example"], &["--advertise", "relay.example", "fix:", "quic://"]);
    refused(&["serve", "--frame-bytes-max", "1"], &["--frame-bytes-max", "1", "fix:", "1024"]);
    refused(&["serve", "--listen", "127.0.0.1:5", "--admin", "127.0.0.1:5"], &["--admin", "127.0.0.1:5", "fix:"]);
    refused(&["serve", "--peer-region", "b"], &["--peer-region b", "fix:", "--kafka"]);
    refused(&["serve", "--tag-keys-file", "/nowhere"], &["--tag-keys-file", "/nowhere", "fix:"]);
    let secret = "f".repeat(63);
    let keys = file("keys", &format!("1 {secret}"));
    refused(&["serve", "--tag-keys-file", &keys], &["--tag-keys-file", "line 1", "fix:", "openssl"]);
    assert!(!parse_words(&["serve", "--tag-keys-file", &keys]).unwrap_err().to_string().contains(&secret));
    refused(&["serve", "--config", "/nowhere.toml"], &["/nowhere.toml", "fix:"]);
    refused(&["serve", "--config", &file("a", "frames-brust = 2")], &["frames-brust", "frames-burst"]);
    refused(&["serve", "--config", &file("b", "= 2")], &["fix:"]);
    refused(&["serve", "--config", &file("c", "hello-ms = 1.5")], &["hello-ms", "float", "fix:"]);
}

#[test]
fn passwords_are_not_shown() {
    let shown = |value: &str| without_password(value);
    assert_eq!(shown("postgres://me:pass@h:1/db,postgres://you@h"), "postgres://me@h:1/db,postgres://you@h");
    assert_eq!(shown("redis://:pass@h:1"), "redis://@h:1");
    assert_eq!(shown("127.0.0.1:4400"), "127.0.0.1:4400");
}

#[cfg(feature = "regional")]
#[test]
fn services_are_given_together() {
    let words = |more: &[&'static str]| {
        let mut words = vec!["serve", "--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:2", "--s3-bucket", "b"];
        words.extend(["--postgres", "postgres://me:secret@127.0.0.1:3/db"]);
        words.extend(more);
        words
    };
    let config = served(&words(&["--region", "a", "--peer-region", "b", "--home-region", "b"]));
    let options = config.services().unwrap().unwrap();
    assert_eq!((options.region.as_str(), options.home.as_str()), ("a", "b"));
    refused(&words(&["--restored"]), &["--restored", "--kafka", "fix:"]);
    refused(&words(&["--region", "a", "--peer-region", "a"]), &["--peer-region a", "fix:"]);
    refused(&words(&["--region", "a", "--home-region", "c"]), &["--home-region c", "fix:"]);
    refused(&["serve", "--kafka", "127.0.0.1:1"], &["--redis (none)", "fix:"]);
    let (_, settings) = parse_words(&words(&[])).unwrap();
    let shown = settings.iter().find(|setting| setting.name == "postgres").unwrap();
    assert_eq!(shown.value, "postgres://me@127.0.0.1:3/db");
}

#[test]
fn numbers_that_nothing_could_work_with_are_refused_and_not_mended() {
    let most = u64::MAX.to_string();
    let refusals = [
        ("--frames-per-second", "0"),
        ("--frames-burst", "0"),
        ("--ops-per-second", "0"),
        ("--bytes-per-second", &most),
        ("--connections-max", "0"),
        ("--unauthenticated-percent", "0"),
        ("--unauthenticated-percent", "101"),
        ("--http-head-bytes-max", "8191"),
        ("--drain-ms", "0"),
        ("--ping-active-ms", &most),
        ("--ping-idle-ms", "0"),
        ("--outbox-credit-bytes", "0"),
        ("--document-sites-max", "65536"),
        ("--append-retry-ms", "0"),
        ("--append-retry-ms", "5001"),
    ];
    for (flag, value) in refusals {
        refused(&["serve", flag, value], &[&format!("{flag} {value}: is out of range"), "fix: give a number from"]);
    }
    let message = ["serve", "--frame-bytes-max", "4096", "--message-bytes-max", "2048"];
    refused(&message, &["--message-bytes-max 2048", "--frame-bytes-max", "fix:", "4096"]);
    let taken =
        served(&["serve", "--frames-per-second", "1", "--unauthenticated-percent", "100", "--idle-unload-ms", "0"]);
    assert_eq!((taken.limits.frames_per_second, taken.listen.unauthenticated_percent), (1, 100));
}

#[test]
fn what_could_never_match_is_refused() {
    for origin in ["app.example", "https://", "https://app.example/page", ""] {
        refused(
            &["serve", &format!("--allow-origin={origin}")],
            &["--allow-origin", origin, "fix:", "https://app.example"],
        );
    }
    for origin in ["*", "https://app.example", "http://127.0.0.1:4400/", "chrome-extension://abc"] {
        assert_eq!(served(&["serve", "--allow-origin", origin]).listen.allow_origin, [origin]);
    }
    refused(&["serve", "--log-level", "loud=loudest"], &["--log-level loud=loudest", "fix:", "debug"]);
    refused(&["serve", "--region", ""], &["--region", "fix:"]);
}
