//! A name server on this machine, which knows what a test has told it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use mail_auth::hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use mail_auth::hickory_resolver::proto::rr::rdata::TXT;
use mail_auth::hickory_resolver::proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What it knows: texts by name.
#[derive(Default)]
struct Zone {
    texts: HashMap<String, Vec<String>>,
    fails: bool,
}

/// The server. It ends with its value.
pub struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    /// Starts one that knows nothing.
    pub async fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let zone = Arc::new(Mutex::new(Zone::default()));
        let known = Arc::clone(&zone);
        let serving = tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let Ok(question) = Message::from_vec(&buffer[..length]) else {
                    continue;
                };
                let answer = {
                    let zone = known.lock().unwrap_or_else(PoisonError::into_inner);
                    zone.answer(&question)
                };
                if let Ok(bytes) = answer.to_vec() {
                    // Whoever asked may be gone.
                    socket.send_to(&bytes, from).await.ok();
                }
            }
        });
        Ok(Self {
            address,
            zone,
            serving,
        })
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Publishes texts under a name, in place of those that were there.
    pub fn publish(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        self.zone().texts.insert(format!("{name}."), texts);
    }

    /// Lets every question fail, or none.
    pub fn fail(&self, fails: bool) {
        self.zone().fails = fails;
    }

    fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Zone {
    fn answer(&self, question: &Message) -> Message {
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        let Some(query) = question.queries.first() else {
            return answer;
        };
        answer.add_query(query.clone());
        if self.fails {
            answer.metadata.response_code = ResponseCode::ServFail;
            return answer;
        }
        let name = query.name().to_string().to_ascii_lowercase();
        let record = |data| Record::from_rdata(query.name().clone(), 60, data);
        let is_known = self.texts.contains_key(&name);
        if query.query_type() == RecordType::TXT {
            for text in self.texts.get(&name).into_iter().flatten() {
                // A record's strings have at most 255 octets each.
                let pieces = text.as_bytes().chunks(255);
                let pieces = pieces.map(|piece| String::from_utf8_lossy(piece).into_owned());
                answer.add_answer(record(RData::TXT(TXT::new(pieces.collect()))));
            }
        }
        if !is_known {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer
    }
}
