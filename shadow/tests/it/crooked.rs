//! Nodes whose answers are altered on their way, to see what is made of them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
};

use serde_json::{Value, json};
use shadow::devnet::{DevnetNode, Pace};

use crate::{
    attach::{attach_to, generated, serve},
    devnet_client::Client,
};

/// Compared to the end, and nothing differs.
#[track_caller]
fn is_clean(url: &str, until: u64) {
    let until = until.to_string();
    let arguments = ["--until", &until, "--candidate", "node", "--give-up-seconds", "20"];
    let ran = attach_to(url, &arguments);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["mismatches"]["total"], 0, "{summary:#}");
    assert_eq!(summary["node_check"]["not_asked"], 0, "{summary:#}");
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

const BLOCK: &str = "get_block_at_topoheight";

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
