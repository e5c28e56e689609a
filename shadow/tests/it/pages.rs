//! The pages of a run, asked for as a browser would, and as somebody would who wants something else.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
};

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::{
    http::{PATIENCE, Running},
    program::shadow,
};

#[test]
fn every_page_of_a_clean_run_is_there_and_lets_nobody_else_in() {
    let running = Running::start(&["soak", "--for", "1h", "--blocks-per-second", "500"]);
    running.until("it has verified", |status| status["verified_topoheight"].as_u64() > Some(60));
    let pages = Browser(&running);
    for (path, says) in [
        ("/", "Is it safe?"),
        ("/", "<noscript><meta http-equiv=\"refresh\""),
        ("/", "Nothing differs"),
        ("/", "href=\"/ledger?from="),
        ("/problems", "Open (0)"),
        ("/mismatches", "Nothing differs"),
        ("/ledger?from=10&to=12", "Topoheights 10 to 12"),
        ("/ledger", "rel=\"prev\""),
        ("/gate?require=exercised=1", "shadow report --require exercised=1"),
        ("/evidence", "There is none."),
        ("/blocks/7", "Verdict by candidate"),
    ] {
        let page = pages.page(path);
        assert!(page.contains(says), "{path} does not say {says}: {page}");
        assert!(page.contains("blocks compared"), "{path} shows no coverage");
        assert!(!page.contains("style=") && !page.contains("http://"), "{path}: {page}");
    }
    let nonsense = pages.get("/gate?require=nonsense");
    assert_eq!(nonsense.status, 400);
    assert!(nonsense.text().contains("expected name=number"), "{nonsense:?}");
    for (path, kind) in [
        ("/assets/style.css", "text/css"),
        ("/assets/live.js", "text/javascript"),
        ("/assets/icon.svg", "image/svg+xml"),
        ("/api/status", "application/json"),
        ("/metrics", "text/plain"),
    ] {
        let answer = pages.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.header("content-type").unwrap().starts_with(kind),
            "{path}: {}",
            answer.head
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let newest = running.get("/api/status").json()["verified_topoheight"].as_u64().unwrap();
    // The last sixty may be on their way out.
    let lists = |at| pages.page(&format!("/blocks/{at}")).contains("<ol start=\"1\"><li><code");
    assert!((newest.saturating_sub(64)..=newest).rev().any(lists), "none up to {newest} does");
}

#[test]
fn what_is_not_there_is_not_found_and_nothing_leads_out_of_the_evidence() {
    let state = tempfile::tempdir().unwrap();
    let evidence = state.path().join("evidence/7_0123abcd_v3");
    fs::create_dir_all(&evidence).unwrap();
    for name in ["evidence.json", "log.txt"] {
        fs::write(evidence.join(name), "{}").unwrap();
    }
    fs::write(state.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(state.path().join("secret"), evidence.join("link")).unwrap();
    let directory = state.path().to_str().unwrap();
    let running = Running::start(&[
        "soak",
        "--for",
        "1h",
        "--blocks-per-second",
        "20",
        "--state-dir",
        directory,
    ]);
    let pages = Browser(&running);
    #[track_caller]
    fn check(pages: &Browser<'_>, path: &str, status: u16) {
        let answer = pages.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.header("content-security-policy").is_some(), "{path}");
        assert!(!answer.text().contains("secret"), "{path}: {answer:?}");
    }
    check(&pages, "/evidence/7_0123abcd_v3", 200);
    check(&pages, "/evidence/7_0123abcd_v3/log.txt", 200);
    check(&pages, "/evidence/7_0123abcd_v3.tar.gz", 200);
    for outside in [
        "7_0123abcd_v3/link",
        "7_0123abcd_v3/..%2f..%2fsecret",
        "7_0123abcd_v3/%2e%2e/secret",
        "7_0123abcd_v3/../../../secret",
        "..",
        "../secret",
        "%2e%2e%2fsecret",
        "..%2fsecret",
        "..%5csecret",
        ".",
        "%2e",
        "..tar.gz",
        "...tar.gz",
        "%2e%2e.tar.gz",
        ".tar.gz",
        "%00",
        "7_0123abcd_v3%00/log.txt",
        "7_0123abcd_v3/log.txt%00",
        "7_0123abcd_v3/%2fetc%2fpasswd",
        "/etc/passwd",
        "nothing",
        "nothing/log.txt",
        "nothing.tar.gz",
    ] {
        check(&pages, &format!("/evidence/{outside}"), 404);
    }
    // Not a text, so no name.
    check(&pages, "/evidence/%ff", 400);
    for nothing in [
        "/nothing",
        "/blocks/999999999",
        "/blocks/x",
        "/blocks/-1",
        "/blocks/01",
        "/blocks/0/transactions/0",
        "/blocks/0/transactions/x",
        "/blocks/0/keys/nonce",
        "/blocks/0/keys/nonce/xyz",
        "/blocks/999999999/keys/nonce/0000000000000000000000000000000000000000000000000000000000000000",
        "/problems/0123456789ab",
        "/problems/xyz",
        "/assets/nothing",
        "/assets/..%2fmod.rs",
    ] {
        check(&pages, nothing, 404);
    }
    for nonsense in
        ["/ledger?from=x", "/ledger?from=2&to=1", "/mismatches?before=-1", "/problems?after=x"]
    {
        check(&pages, nonsense, 400);
    }
    assert!(pages.get("/nothing").text().contains("<h1>Not here</h1>"));
    for far in [
        "/ledger?from=18446744073709551615",
        "/mismatches?before=0",
        "/problems?after=18446744073709551615",
    ] {
        check(&pages, far, 200);
    }
}

#[test]
fn a_mismatch_is_followed_down_to_its_key_and_its_evidence_is_handed_out() {
    let running = Running::start(&candidate("wrong_candidate.py"));
    running.until("three blocks differ", |status| differing(status) >= 3);
    let pages = Browser(&running);

    let list = pages.page("/mismatches");
    assert!(list.contains("external-wrong"), "{list}");
    let newest = running.get("/api/mismatches?limit=1").json()["blocks"][0].clone();
    // The first cases have evidence.
    let all = running.get("/api/mismatches?limit=500").json();
    let first = all["blocks"].as_array().unwrap().last().unwrap().clone();
    let at = first["topoheight"].as_u64().unwrap();
    assert!(newest["topoheight"].as_u64() >= Some(at));
    let first = &first["candidates"][0];
    let id = first["fingerprint"]["id"].as_str().unwrap();
    let (account, asset) = (first["first"]["account"].as_str(), first["first"]["asset"].as_str());
    let key = format!("/blocks/{at}/keys/balance/{}/{}", account.unwrap(), asset.unwrap());

    let block = pages.page(&format!("/blocks/{at}"));
    assert!(block.contains(&format!("href=\"{key}\"")), "{block}");
    assert!(block.contains("Diagnosis"), "{block}");
    let transactions = block.matches(&format!("href=\"/blocks/{at}/transactions/")).count();
    assert!(transactions >= 1, "{block}");
    let (control, observed) = (&first["first"]["control"], &first["first"]["observed"]);
    let page = pages.page(&key);
    for value in [control, observed] {
        assert!(page.contains(&format!("<span class=\"value\">{value}</span>")), "{value}: {page}");
    }
    assert!(page.contains("+1") && page.contains("differs"), "{page}");
    let page = pages.page(&format!("/blocks/{at}/transactions/0"));
    assert!(page.contains("Keys that it touches"), "{page}");
    assert_eq!(pages.get(&format!("/blocks/{at}/transactions/4000")).status, 404);

    let problem = pages.page(&format!("/problems/{id}"));
    assert!(problem.contains(&format!("/blocks/{at}\"")), "{problem}");
    assert!(pages.page("/problems").contains(id));
    let name = Path::new(first["evidence"].as_str().unwrap()).file_name().unwrap();
    let name = name.to_str().unwrap();
    assert!(problem.contains(&format!("/evidence/{name}\"")), "{problem}");
    let shown = pages.page(&format!("/evidence/{name}"));
    let archive = pages.get(&format!("/evidence/{name}.tar.gz"));
    assert_eq!(archive.header("content-type"), Some("application/gzip"));
    let mut files = 0;
    let mut unpacked = tar::Archive::new(GzDecoder::new(&*archive.body));
    for entry in unpacked.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        assert!(path.starts_with(name), "{path:?}");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let address = format!("/evidence/{}", path.display());
        let file = pages.get(&address);
        assert_eq!(file.status, 200);
        assert!(
            file.header("content-disposition").unwrap().starts_with("attachment"),
            "{}",
            file.head
        );
        assert!(shown.contains(&format!("href=\"{address}\"")), "{shown}");
        // The triage may come meanwhile.
        if !address.ends_with("triage.json") {
            assert_eq!(file.body, content, "{address}");
        }
        files += 1;
    }
    assert!(files >= 8, "{files}");
}

#[test]
fn nothing_hostile_acts_and_nothing_is_hidden() {
    let running = Running::start(&candidate("hostile_candidate.py"));
    running.until("three blocks differ", |status| differing(status) >= 3);
    let pages = Browser(&running);
    let all = running.get("/api/mismatches?limit=500").json();
    let blocks = all["blocks"].as_array().unwrap();
    let mut paths: Vec<String> = ["/", "/problems", "/mismatches", "/ledger", "/gate", "/evidence"]
        .map(str::to_owned)
        .into();
    for block in &blocks[blocks.len() - 3..] {
        paths.push(format!("/blocks/{}", block["topoheight"]));
        paths.push(format!("/blocks/{}/transactions/0", block["topoheight"]));
        for judged in block["candidates"].as_array().unwrap() {
            paths.push(format!("/problems/{}", judged["fingerprint"]["id"].as_str().unwrap()));
            if let Some(evidence) = judged["evidence"].as_str() {
                paths.push(format!("/{evidence}"));
            }
        }
    }
    let mut told = 0;
    for path in paths {
        let page = pages.page(&path);
        let lower = page.to_lowercase();
        for hostile in
            ["<script>", "<img", "<link rel=stylesheet", "onmouseover=\"", "\u{1b}", "\u{202e}"]
        {
            assert!(!lower.contains(hostile), "{path} holds {hostile:?}: {page}");
        }
        assert_eq!(lower.matches("<script").count(), usize::from(path == "/"), "{path}");
        told += usize::from(page.contains("&lt;script&gt;window.pwned=1"));
    }
    assert!(told >= 3, "it is shown, and does nothing: {told}");
}

#[test]
fn what_is_new_is_told_without_asking_again() {
    let running = Running::start(&["soak", "--for", "1h", "--blocks-per-second", "100"]);
    let mut stream = running.connect();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut sections = Vec::new();
    let mut seen = 0;
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            sections.push(data.as_object().unwrap().clone());
            seen += 1;
            // The first has everything, the others what changed.
            if seen == 2 {
                break;
            }
        }
    }
    for id in ["strip", "answers", "timeline", "found", "coverage", "gate"] {
        let html = sections[0][id].as_str().unwrap();
        assert!(html.contains(&format!("id=\"{id}\"")), "{html}");
    }
    assert!(sections[1].contains_key("answers"), "blocks were verified meanwhile");
    assert_ne!(sections[0]["answers"], sections[1]["answers"]);
}

/// The last block of the chain that pages are made of.
#[cfg(feature = "faults")]
const LAST: u64 = 130;

#[cfg(feature = "faults")]
#[test]
fn pages_have_a_bounded_length_and_lead_to_everything() {
    let state = tempfile::tempdir().unwrap();
    let arguments = [
        "soak",
        "--profile",
        "transfers",
        "--transactions-per-block",
        "2",
        "--candidate",
        "fault:dev-reward-lost",
        "--triage",
        "0",
        "--state-dir",
        state.path().to_str().unwrap(),
    ];
    let last = LAST.to_string();
    let ran = shadow([&arguments[..], &["--json", "--blocks", last.as_str()]].concat());
    assert_eq!(ran.code, 1, "{ran:#?}");
    let listed = shadow(["mismatches", "--json", "--state-dir", state.path().to_str().unwrap()]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let expected: u64 = listed["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["blocks"].as_u64().unwrap())
        .sum();

    let paced = ["--for", "1h", "--blocks-per-second", "0.001"];
    let running = Running::start(&[&arguments[..], &paced].concat());
    running.until("the ledger is read", |status| differing(status) >= expected);
    let pages = Browser(&running);
    let walk = |start: &str| {
        let (mut path, mut rows, mut count) = (start.to_owned(), Vec::new(), 0);
        loop {
            let page = pages.page(&path);
            let main = page.split("<main").nth(1).unwrap().to_owned();
            let here: Vec<u64> = main
                .split("<th scope=\"row\"><a href=\"/blocks/")
                .skip(1)
                .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
                .collect();
            assert!(here.len() <= 50 && page.len() < 100_000, "{path}: {}", page.len());
            rows.extend(here);
            count += 1;
            match main.split("rel=\"next\" href=\"").nth(1) {
                Some(rest) => path = rest.split('"').next().unwrap().replace("&amp;", "&"),
                // It may have gone on by a block.
                None => {
                    rows.retain(|at| *at <= LAST);
                    return (rows, count);
                }
            }
        }
    };
    let (rows, count) = walk("/mismatches");
    assert_eq!(rows.len() as u64, expected);
    assert!(rows.is_sorted_by(|a, b| a > b), "{rows:?}");
    assert!(count >= 3, "{count}");
    let problems = pages.page("/problems");
    let mut by_problem = Vec::new();
    for problem in listed["problems"].as_array().unwrap() {
        let id = problem["fingerprint"]["id"].as_str().unwrap();
        assert!(problems.contains(id), "{id}: {problems}");
        let (rows, _) = walk(&format!("/problems/{id}"));
        assert_eq!(rows.len() as u64, problem["blocks"].as_u64().unwrap());
        by_problem.extend(rows);
    }
    by_problem.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(by_problem, rows);
    let (all, _) = walk("/ledger?from=0");
    assert!(all.is_sorted() && all.len() as u64 > LAST, "{}", all.len());
}

fn candidate(file: &str) -> Vec<&'static str> {
    let program = format!("external:python3 {}/tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
    // A test ends with its process.
    let program: &'static str = Box::leak(program.into_boxed_str());
    vec![
        "soak",
        "--for",
        "1h",
        "--profile",
        "transfers",
        "--transactions-per-block",
        "8",
        "--triage",
        "0",
        "--blocks-per-second",
        "20",
        "--candidate",
        program,
    ]
}

fn differing(status: &Value) -> u64 {
    let candidates = status["candidates"].as_object().unwrap().values();
    candidates.map(|one| one["blocks"]["mismatch"].as_u64().unwrap()).sum()
}

/// Somebody who reads pages.
struct Browser<'a>(&'a Running);

impl Browser<'_> {
    /// A page that is there.
    #[track_caller]
    fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        answer.text()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Answer {
        let mut stream = self.0.connect();
        // Of the older version: what is answered ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nHost: here\r\nAccept: text/html,*/*\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(stream)
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    fn read(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: all[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
