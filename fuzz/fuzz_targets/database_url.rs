//! Database URLs: a path that was understood is shown so that it is understood again, and a
//! password is never shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netglass_store::DatabaseUrl;

const PASSWORD: &str = "H0rse-Battery";

fuzz_target!(|data: &str| {
    for (end, _) in data.char_indices().take(64) {
        check(&data[..end]);
    }
    check(data);
    for prefix in ["sqlite:", "sqlite://", "postgres://", "./"] {
        check(&format!("{prefix}{data}"));
    }

    let (before, after) = data.split_once('\n').unwrap_or((data, ""));
    for scheme in ["sqlite", "SQLite", "postgres", "postgresql", "mysql", "my_sql"] {
        let url = format!("{scheme}://user:{before}{PASSWORD}{after}@host:5432/name");
        let shown = match url.parse::<DatabaseUrl>() {
            Ok(url) => format!("{url} {url:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
});

fn check(text: &str) {
    match text.parse::<DatabaseUrl>() {
        Ok(url) => {
            let DatabaseUrl::Sqlite(path) = &url else { return };
            let path = path.to_str().expect("it came from text");
            assert!(!path.is_empty() && !path.contains('\0'));
            assert!(text.ends_with(path));
            assert_eq!(url.to_string().parse::<DatabaseUrl>().ok().as_ref(), Some(&url));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
