//! An IMAP server inside the test's own process, which says what its script has it say, as no server
//! should.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it misbehaves. In all the rest it is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It has one mail, and tells of new ones by IDLE.
    Proper,
    /// The same without IDLE: it has another mail each time that it is asked.
    WithoutIdle,
    /// It takes the connection and says nothing.
    Mute,
    /// It says goodbye at once.
    Bye,
    /// It is another kind of server.
    Stranger,
    /// Its greeting never ends.
    EndlessGreeting,
    /// It answers by lines without end.
    EndlessLines,
    /// It answers by one line without end.
    EndlessLine,
    /// The same in crumbs.
    Crumbs,
    /// It never finishes the answer to a question for mails.
    NeverDone,
    /// It announces a mail of half a gibibyte.
    HugeLiteral,
    /// The same where nobody asked for any.
    HugeListing,
    /// It hands out a mail that does not end.
    EndlessMail,
    /// It hands out thousands of mails that nobody asked for, and not the one that somebody did.
    Unasked,
    /// It hands out the second of its three mails whole, of two mebibytes, however much was asked for.
    Oversized,
    /// It hands out the second of its three mails as nobody can read it.
    Garbled,
    /// It breaks off the first connections, then does not hand out any of its three mails, and then does.
    OffAndOn,
    /// It tells the same of its folder over and over.
    Storm,
    /// It lists UIDs in no order and twice, and hands out others with each.
    Disorder,
    /// It says that encryption begins, and goes on in the clear with answers to what was not asked yet.
    Injection,
    /// It does not encrypt.
    NoStartTls,
}

/// So many connections are broken off by a server that is off and on.
const OFF: usize = 9;

/// The server; it ends with this value.
pub struct ImapSink {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for ImapSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ImapSink {
    /// A server of this manner, on a port of its own.
    pub async fn start(manner: Manner) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let all = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            let mut connections = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let before = connections;
                connections += 1;
                let heard = Arc::clone(&all);
                tokio::spawn(async move {
                    let (reader, writer) = stream.into_split();
                    let connection = Connection {
                        manner,
                        lines: BufReader::new(reader),
                        writer,
                        heard,
                        asked: 0,
                        before,
                    };
                    // It ends when the other side goes.
                    drop(connection.run().await);
                });
            }
        });
        Ok(Self {
            address,
            heard,
            task,
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What was said to it, line by line.
    pub fn heard(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }
}

/// A mail with this number.
pub fn mail(number: u32) -> String {
    format!(
        "From: contact{number}@example.org\r\nTo: ada@example.com\r\nSubject: Number {number}\r\n\
         Message-ID: <number-{number}@example.org>\r\n\r\nHello\r\n"
    )
}

struct Connection {
    manner: Manner,
    lines: BufReader<tokio::net::tcp::OwnedReadHalf>,
    writer: tokio::net::tcp::OwnedWriteHalf,
    heard: Arc<Mutex<Vec<String>>>,
    /// How often it was asked for mails.
    asked: u32,
    /// How many connections there were before this one.
    before: usize,
}

type Ended = std::io::Result<()>;

impl Connection {
    async fn say(&mut self, text: &str) -> Ended {
        self.writer.write_all(text.as_bytes()).await
    }

    /// The same over and over, until the other side goes.
    async fn without_end(&mut self, text: &str, least: usize) -> Ended {
        let many = text.repeat(least.div_ceil(text.len()));
        loop {
            self.say(&many).await?;
        }
    }

    /// One byte after the other, each on its own.
    async fn crumbs(&mut self, text: &str) -> Ended {
        self.writer.as_ref().set_nodelay(true)?;
        loop {
            self.say(text).await?;
            tokio::task::yield_now().await;
        }
    }

    async fn hear(&mut self) -> std::io::Result<Option<(String, String)>> {
        let mut line = String::new();
        if self.lines.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end().to_owned();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(line.clone());
        let (tag, rest) = line.split_once(' ').unwrap_or((&line, ""));
        Ok(Some((tag.to_owned(), rest.to_owned())))
    }

    async fn run(mut self) -> Ended {
        match self.manner {
            Manner::Mute => return std::future::pending().await,
            Manner::Bye => return self.say("* BYE too many of you\r\n").await,
            Manner::Stranger => {
                self.say("220 mx.example.org ESMTP\r\n").await?;
                return std::future::pending().await;
            }
            Manner::EndlessGreeting => return self.without_end("* OK welcome ", 4_096).await,
            Manner::OffAndOn if self.before < OFF => return Ok(()),
            _ => self.say("* OK ready\r\n").await?,
        }
        while let Some((tag, command)) = self.hear().await? {
            self.answer(&tag, &command).await?;
        }
        Ok(())
    }

    async fn answer(&mut self, tag: &str, command: &str) -> Ended {
        let word = command.split(' ').next().unwrap_or_default();
        match (word, self.manner) {
            ("STARTTLS", Manner::Injection) => {
                let more =
                    "* OK hello\r\nA0002 OK logged in\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\n";
                self.say(&format!("{tag} OK go on\r\n{more}")).await?;
                // Whatever the other side says then is answered in the clear.
                self.lines.fill_buf().await?;
                self.say("* OK still in the clear\r\n").await?;
                return std::future::pending().await;
            }
            ("STARTTLS", _) => return self.say(&format!("{tag} NO not here\r\n")).await,
            ("CAPABILITY", manner) => self.capability(manner).await?,
            ("EXAMINE", _) => self.examine().await?,
            ("UID", _) => self.of_mails(command).await?,
            ("IDLE", manner) => return self.idle(tag, manner).await,
            _ => {}
        }
        self.say(&format!("{tag} OK done\r\n")).await
    }

    async fn capability(&mut self, manner: Manner) -> Ended {
        match manner {
            Manner::EndlessLines => self.without_end("* OK still here\r\n", 4_096).await,
            Manner::EndlessLine => self.without_end("* OK and so on ", 4_096).await,
            Manner::Crumbs => self.crumbs("x").await,
            Manner::HugeListing => {
                self.say("* LIST () \"/\" {536000000}\r\n").await?;
                self.without_end("x", 4_096).await
            }
            Manner::WithoutIdle => self.say("* CAPABILITY IMAP4rev1\r\n").await,
            _ => self.say("* CAPABILITY IMAP4rev1 IDLE\r\n").await,
        }
    }

    async fn examine(&mut self) -> Ended {
        self.say("* 0 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 1] ok\r\n")
            .await
    }

    /// What it is asked for mails: which there are, or one of them.
    async fn of_mails(&mut self, command: &str) -> Ended {
        let Some(uid) = command.strip_prefix("UID FETCH ") else {
            self.asked += 1;
            let found = match self.manner {
                Manner::NeverDone => return self.without_end("* SEARCH 1 2 3\r\n", 4_096).await,
                Manner::Disorder => "9 3 7 3 5 9".to_owned(),
                Manner::Oversized | Manner::Garbled | Manner::OffAndOn => "1 2 3".to_owned(),
                Manner::WithoutIdle => self.asked.to_string(),
                _ => "1".to_owned(),
            };
            return self.say(&format!("* SEARCH {found}\r\n")).await;
        };
        let uid = uid.split(' ').next().and_then(|uid| uid.parse().ok());
        let uid: u32 = uid.unwrap_or_default();
        match self.manner {
            Manner::HugeLiteral => {
                self.say("* 1 FETCH (UID 1 BODY[] {536000000}\r\n").await?;
                return self.without_end("x", 4_096).await;
            }
            Manner::EndlessMail => {
                self.say("* 1 FETCH (UID 1 BODY[] {1048576}\r\n").await?;
                return self.without_end("x", 1 << 20).await;
            }
            Manner::Oversized if uid == 2 => {
                let length = 2 << 20;
                let head = format!("* 2 FETCH (UID 2 BODY[] {{{length}}}\r\n");
                let mail = "x".repeat(length);
                return self.say(&format!("{head}{mail})\r\n")).await;
            }
            Manner::Garbled if uid == 2 => {
                return self.say("* 2 FETCH (UID 2 BODY[] <>)\r\n").await;
            }
            Manner::OffAndOn if self.before == OFF => return Ok(()),
            Manner::Unasked => {
                let other = "* 2 FETCH (UID 4242 FLAGS (\\Seen))\r\n";
                return self.say(&other.repeat(30_000)).await;
            }
            Manner::Disorder => {
                for other in [uid + 1, 4_242] {
                    self.hand_out(other, 4_242).await?;
                }
            }
            _ => {}
        }
        self.hand_out(uid, uid).await
    }

    async fn hand_out(&mut self, uid: u32, number: u32) -> Ended {
        let mail = mail(number);
        let length = mail.len();
        let answer = format!("* 1 FETCH (UID {uid} BODY[]<0> {{{length}}}\r\n{mail})\r\n");
        self.say(&answer).await
    }

    async fn idle(&mut self, tag: &str, manner: Manner) -> Ended {
        self.say("+ idling\r\n").await?;
        if manner == Manner::Storm {
            self.say("* 5 EXISTS\r\n* 5 RECENT\r\n").await?;
        }
        // Until it hears DONE.
        if self.hear().await?.is_some() {
            self.say(&format!("{tag} OK done\r\n")).await?;
        }
        Ok(())
    }
}
