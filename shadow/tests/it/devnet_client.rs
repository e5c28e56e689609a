//! A client of a stand-in node that is as plain as can be, so that what it sees is what was sent.

use std::time::Duration;

use serde_json::{Value, json};
use shadow::devnet::{DevnetChain, DevnetNode, DevnetOptions};
use shadow::source::{GeneratedOptions, Profile};
use tokio::runtime::{Builder, Runtime};

pub(crate) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    url: String,
}

/// An answer with its status, before anybody read it.
pub(crate) struct Raw {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn of(node: &DevnetNode) -> Self {
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            http: reqwest::Client::builder().timeout(PATIENCE).build().unwrap(),
            url: format!("{}/json_rpc", node.url()),
        }
    }

    /// Posts a text as it is.
    pub(crate) fn try_post(&self, body: String) -> reqwest::Result<Raw> {
        self.runtime.block_on(async {
            let response = self.http.post(&self.url).body(body).send().await?;
            let status = response.status().as_u16();
            let content_type = response.headers().get("content-type");
            let content_type = content_type.map(|value| value.to_str().unwrap().to_owned());
            let text = response.text().await?;
            Ok(Raw { status, content_type: content_type.unwrap_or_default(), text })
        })
    }

    pub(crate) fn post(&self, body: String) -> Raw {
        self.try_post(body).unwrap()
    }

    /// The whole response to one question.
    pub(crate) fn respond(&self, method: &str, params: Value) -> Value {
        let question = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let response = self.post(question.to_string());
        assert_eq!(response.status, 200);
        let response: Value = serde_json::from_str(&response.text).unwrap();
        assert_eq!((&response["id"], &response["jsonrpc"]), (&json!(7), &json!("2.0")));
        response
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        let response = self.respond(method, params);
        assert!(response.get("error").is_none(), "{method}: {response}");
        response["result"].clone()
    }

    /// The error that a question is answered with.
    #[track_caller]
    pub(crate) fn refused(&self, method: &str, params: Value) -> (i64, String) {
        let response = self.respond(method, params);
        let error = response.get("error").unwrap_or_else(|| panic!("{method}: {response}"));
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    /// The responses to several questions, asked in batches.
    pub(crate) fn ask_all(&self, questions: &[(String, Value)]) -> Vec<Value> {
        let mut responses = Vec::with_capacity(questions.len());
        for batch in questions.chunks(20) {
            let calls = batch.iter().enumerate().map(|(id, (method, params))| {
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            });
            let response = self.post(Value::Array(calls.collect()).to_string());
            let answers: Vec<Value> = serde_json::from_str(&response.text).unwrap();
            assert_eq!(answers.len(), batch.len());
            for (id, answer) in answers.iter().enumerate() {
                assert_eq!(answer["id"], json!(id));
            }
            responses.extend(answers);
        }
        responses
    }
}

/// A short chain of small blocks.
pub(crate) fn generated(profile: Profile, blocks: u64) -> GeneratedOptions {
    GeneratedOptions { profile, seed: 7, blocks, transactions_per_block: 8, conflict_rate: 0.2 }
}

pub(crate) fn serving(profile: Profile, blocks: u64) -> DevnetOptions {
    DevnetOptions::new(DevnetChain::Generated(generated(profile, blocks)))
}

/// Nothing here takes anywhere near as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
