//! Nodes whose answers are altered on their way, to see what is made of them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use shadow::devnet::{DevnetNode, Pace};

use crate::{
    attach::{attach_to, generated, serve, with_state},
    devnet_client::Client,
    program::{Ran, shadow},
};

/// Compared to the end, and nothing differs.
#[track_caller]
fn is_clean(url: &str, until: u64) -> Ran {
    let until = until.to_string();
    let arguments = ["--until", &until, "--candidate", "node", "--give-up-seconds", "20"];
    let ran = attach_to(url, &arguments);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["mismatches"]["total"], 0, "{summary:#}");
    assert_eq!(summary["node_check"]["not_asked"], 0, "{summary:#}");
    ran
}

#[test]
fn a_batch_in_which_two_answers_have_one_id_is_not_used_in_part() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let mut batches = 0;
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        batches += u64::from(answers.len() > 3);
        if answers.len() > 3 && batches % 7 == 0 {
            answers[1]["id"] = answers[0]["id"].clone();
        }
        Ok(answers)
    });
    is_clean(&url, 40);
}

#[test]
fn the_first_block_is_the_one_at_the_first_position() {
    let node = serve(generated(3, 10), Pace::AllAtOnce);
    let mut is_wrong_once = true;
    let url = crooked(&[&node], move |questions, nodes| {
        let mut questions = questions.to_vec();
        let asks_for_first =
            |question: &Value| question["method"] == BLOCK && question["params"]["topoheight"] == 0;
        if questions.iter().any(asks_for_first) && std::mem::take(&mut is_wrong_once) {
            questions[0]["params"]["topoheight"] = json!(1);
        }
        Ok(nodes.ask(0, &questions))
    });
    is_clean(&url, 10);
}

/// A node that comes back with less than it had: it has no versions of what it does not have.
#[test]
fn what_a_node_says_is_not_taken_without_its_order() {
    let node = serve(generated(3, 60), Pace::AllAtOnce);
    let shorter = beginning(20);
    let mut is_replaced = false;
    let url = crooked(&[&node, &shorter], move |questions, nodes| {
        is_replaced |= questions.iter().any(|question| asks_for_version(question, 30..60));
        if is_replaced && is_about_order(questions) {
            std::thread::sleep(Duration::from_millis(1200));
        }
        Ok(nodes.ask(usize::from(is_replaced), questions))
    });
    let arguments = ["--until", "60", "--candidate", "node", "--give-up-seconds", "2"];
    let ran = attach_to(&url, &arguments);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(ran.summary()["mismatches"]["total"], 0, "{ran:#?}");
}

#[test]
fn a_node_that_is_replaced_while_it_is_asked_again_did_not_answer() {
    let node = serve(generated(3, 160), Pace::AllAtOnce);
    let shorter = beginning(1);
    let (mut is_young, mut is_replaced, mut was_replaced) = (true, false, false);
    let url = crooked(&[&node, &shorter], move |questions, nodes| {
        is_young &= !questions.iter().any(|question| asks_for_block(question, 24..160));
        is_replaced |= !is_young
            && !was_replaced
            && questions.iter().any(|question| asks_for_version(question, 2..16));
        let mut answers = nodes.ask(usize::from(is_replaced), questions);
        for (question, answer) in questions.iter().zip(&mut answers) {
            if is_young && question["method"] == STABLE {
                answer["result"] = json!(0);
            }
        }
        if is_replaced && is_about_order(questions) {
            (is_replaced, was_replaced) = (false, true);
        }
        Ok(answers)
    });
    is_clean(&url, 60);
}

/// Of a node that fails now and then some answer is always missing, and this one is not asked for again.
#[test]
fn one_of_several_answers_about_the_order_is_enough() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        if is_about_order(questions) {
            for (question, answer) in questions.iter().zip(&mut answers).take(2) {
                *answer = is_busy(question);
            }
        }
        Ok(answers)
    });
    is_clean(&url, 40);
}

#[test]
fn a_node_that_does_not_say_its_order_once_is_asked_anew_without_ado() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let mut fails = false;
    let url = crooked(&[&node], move |questions, nodes| {
        fails ^= is_about_order(questions);
        if fails && is_about_order(questions) { Err(500) } else { Ok(nodes.ask(0, questions)) }
    });
    let ran = is_clean(&url, 40);
    assert!(!ran.stderr.contains("interrupted"), "{ran:#?}");
}

#[test]
fn a_node_is_asked_again_about_what_it_may_have_ordered_anew_and_nothing_else() {
    let node = serve(generated(3, 160), Pace::AllAtOnce);
    let most = Arc::new(AtomicU64::new(0));
    let asked = Arc::clone(&most);
    let url = crooked(&[&node], move |questions, nodes| {
        let positions = questions.iter().filter(|_| is_about_order(questions)).map(|question| {
            let at = |which| question["params"][which].as_u64().unwrap();
            at("end_topoheight") - at("start_topoheight") + 1
        });
        asked.fetch_max(positions.max().unwrap_or(0), Ordering::Relaxed);
        Ok(nodes.ask(0, questions))
    });
    is_clean(&url, 40);
    // The blocks that were fetched, and the one before them.
    assert_eq!(most.load(Ordering::Relaxed), 9);
}

#[test]
fn whatever_may_have_been_ordered_anew_is_looked_at_once_more() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        for (question, answer) in questions.iter().zip(&mut answers) {
            if question["method"] == STABLE {
                answer["result"] = json!(0);
            }
            if is_about_order(questions) && question["params"]["end_topoheight"].as_u64() > Some(30)
            {
                spoil_order(question, answer, 20);
            }
        }
        Ok(answers)
    });
    let arguments = ["--until", "40", "--candidate", "node", "--give-up-seconds", "2"];
    let ran = attach_to(&url, &arguments);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    let because = summary["interrupted_because"].as_str().unwrap();
    assert!(because.contains("do not agree at topoheight 20"), "{because}");
}

#[test]
fn who_refuses_for_a_moment_does_not_end_a_run() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let (mut refusals, mut lapses) = (1, 1);
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        if refusals > 0 && questions.iter().any(|question| asks_for_version(question, 10..40)) {
            refusals -= 1;
            return Err(403);
        }
        if lapses > 0 && questions.iter().any(|question| asks_for_version(question, 20..40)) {
            lapses -= 1;
            let error = json!({"code": -32601, "message": "not now"});
            answers[0] = json!({"id": questions[0]["id"], "jsonrpc": "2.0", "error": error});
        }
        Ok(answers)
    });
    is_clean(&url, 40);
}

#[test]
fn who_sends_on_is_not_followed() {
    let ran = shadow(["doctor", "--node", &crooked(&[], |_, _| Err(307))]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("the node sends on to"), "{ran:#?}");
}

#[test]
fn a_node_that_contradicts_itself_is_asked_calmly_and_named_in_the_end() {
    let node = serve(generated(3, 40), Pace::AllAtOnce);
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        for (question, answer) in questions.iter().zip(&mut answers) {
            spoil_order(question, answer, 20);
        }
        Ok(answers)
    });
    let arguments = ["--until", "40", "--candidate", "node", "--give-up-seconds", "2"];
    let ran = attach_to(&url, &arguments);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    let because = summary["interrupted_because"].as_str().unwrap();
    assert!(because.contains("do not agree at topoheight 20"), "{because}");
    assert!(node.requests().messages < 600, "{:?}", node.requests());
}

#[test]
fn a_node_that_ends_below_what_was_verified_is_named_in_the_end() {
    let node = serve(generated(3, 60), Pace::AllAtOnce);
    let state = tempfile::tempdir().unwrap();
    let ran = attach_to(&node.url(), &with_state(&state, &["--until", "30"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    let arguments = with_state(&state, &["--until", "40", "--give-up-seconds", "1"]);
    let ran = attach_to(&beginning(20).url(), &arguments);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    let because = summary["interrupted_because"].as_str().unwrap();
    assert!(because.contains("is at topoheight 20, below the 30 that was verified"), "{because}");
}

#[test]
fn what_is_stable_was_so_before_the_order_was_told() {
    let late = serve(generated(7, 150), Pace::AllAtOnce);
    let early = serve(generated(7, 150), Pace::OnRequest);
    let (of_late, of_early) = (Client::of(&late), Client::of(&early));
    let mut top = 0;
    let block_at = |client: &Client, at: u64| {
        client.ask(ORDER, json!({"start_topoheight": at, "end_topoheight": at}))
    };
    while top < 20 || block_at(&of_early, top) == block_at(&of_late, top) {
        top = early.advance(1).unwrap().topoheight.as_u64();
    }
    let mut is_ordered_anew = false;
    let url = crooked(&[&early, &late], move |questions, nodes| {
        let mut answers = nodes.ask(usize::from(is_ordered_anew), questions);
        let is_last = |question: &Value| question["params"]["end_topoheight"] == top;
        let is_look = questions.iter().any(|question| question["method"] == STABLE);
        if is_look && questions.iter().any(is_last) && !is_ordered_anew {
            is_ordered_anew = true;
            for (question, answer) in questions.iter().zip(&mut answers) {
                if question["method"] != ORDER {
                    *answer = is_busy(question);
                }
            }
        }
        Ok(answers)
    });
    let ran = is_clean(&url, 100);
    assert_eq!(ran.summary()["re_orders"]["count"], 1, "{ran:#?}");
}

#[test]
fn a_chain_that_becomes_shorter_while_it_is_examined_is_followed() {
    let node = serve(generated(3, 60), Pace::AllAtOnce);
    let shorter = beginning(20);
    let mut is_shorter = false;
    let url = crooked(&[&node, &shorter], move |questions, nodes| {
        is_shorter |= questions.iter().any(|question| question["method"] == HEADERS);
        Ok(nodes.ask(usize::from(is_shorter), questions))
    });
    is_clean(&url, 20);
}

#[test]
fn a_node_that_never_says_what_was_burned_is_named_once() {
    let node = serve(generated(3, 60), Pace::Every(Duration::from_millis(20)));
    let url = crooked(&[&node], move |questions, nodes| {
        let mut answers = nodes.ask(0, questions);
        for answer in &mut answers {
            if let Some(info) = answer["result"].as_object_mut() {
                info.remove("burned_supply");
            }
        }
        Ok(answers)
    });
    let ran = is_clean(&url, 60);
    let warnings = ran.stderr.matches("the burned supply is not compared").count();
    assert_eq!(warnings, 1, "{ran:#?}");
}

/// As much of the longer chains.
fn beginning(blocks: u64) -> DevnetNode {
    let node = serve(generated(3, 60), Pace::OnRequest);
    while node.progress().topoheight.as_u64() < blocks {
        node.advance(1).unwrap();
    }
    node
}

fn asks_for_version(question: &Value, at: Range<u64>) -> bool {
    let is_version = question["method"] == "get_balance_at_topoheight";
    is_version && question["params"]["topoheight"].as_u64().is_some_and(|found| at.contains(&found))
}

fn asks_for_block(question: &Value, at: Range<u64>) -> bool {
    let is_block = question["method"] == BLOCK;
    is_block && question["params"]["topoheight"].as_u64().is_some_and(|found| at.contains(&found))
}

/// Puts another block at a position, if the question is about the order there.
fn spoil_order(question: &Value, answer: &mut Value, at: u64) {
    let start = question["params"]["start_topoheight"].as_u64();
    let place =
        start.filter(|_| question["method"] == ORDER).and_then(|start| at.checked_sub(start));
    let order = answer["result"].as_array_mut();
    let hash = place.and_then(|place| order?.get_mut(usize::try_from(place).unwrap()));
    if let Some(hash) = hash {
        *hash = json!("ab".repeat(32));
    }
}

/// What a node says that fails to answer.
fn is_busy(question: &Value) -> Value {
    let error = json!({"code": -32603, "message": "Internal error: the storage is busy"});
    json!({"id": question["id"], "jsonrpc": "2.0", "error": error})
}

fn is_about_order(questions: &[Value]) -> bool {
    questions.iter().all(|question| question["method"] == ORDER)
}

const BLOCK: &str = "get_block_at_topoheight";
const ORDER: &str = "get_dag_order";
const HEADERS: &str = "get_blocks_range_by_topoheight";
const STABLE: &str = "get_stable_topoheight";

/// The nodes that whoever alters answers may ask.
pub(crate) struct Nodes(Vec<Client>);

impl Nodes {
    /// What one of them answers.
    pub(crate) fn ask(&self, which: usize, questions: &[Value]) -> Vec<Value> {
        let answers = self.0[which].post(Value::from(questions).to_string());
        serde_json::from_str(&answers.text).unwrap()
    }
}

/// What is answered to a request: something to each question, or an HTTP status.
pub(crate) type Answers = Result<Vec<Value>, u16>;

/// Answers for nodes, as it is told, and returns where. There are no events.
pub(crate) fn crooked(
    nodes: &[&DevnetNode],
    mut answer: impl FnMut(&[Value], &Nodes) -> Answers + Send + 'static,
) -> String {
    let nodes = Nodes(nodes.iter().map(|node| Client::of(node)).collect());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever was asking may be gone.
            let _ = exchange(stream.unwrap(), |questions| answer(questions, &nodes));
        }
    });
    url
}

fn exchange(stream: TcpStream, answer: impl FnOnce(&[Value]) -> Answers) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line)?;
    let is_question = line.starts_with("POST");
    while line != "\r\n" && !line.is_empty() {
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().unwrap();
        }
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (status, text) = if is_question { answered(&body, answer) } else { (404, String::new()) };
    let head =
        format!("HTTP/1.1 {status} .\r\nconnection: close\r\ncontent-length: {}", text.len());
    reader.into_inner().write_all(format!("{head}\r\n\r\n{text}").as_bytes())
}

fn answered(body: &[u8], answer: impl FnOnce(&[Value]) -> Answers) -> (u16, String) {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let questions = asked.as_array().cloned().unwrap_or_else(|| vec![asked.clone()]);
    match answer(&questions) {
        Ok(answers) if asked.is_array() => (200, Value::from(answers).to_string()),
        Ok(answers) => (200, answers[0].to_string()),
        Err(status) => (status, String::new()),
    }
}
