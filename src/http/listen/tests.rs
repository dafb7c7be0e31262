use std::sync::Mutex;
use std::time::Instant;

use super::*;

/// Gives errors, and then connections.
struct Failing {
    listener: TcpListener,
    errors: Mutex<Vec<io::Error>>,
}

impl Incomings for Failing {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let error = self.errors.lock().expect("a lock").pop();
        match error {
            Some(error) => Err(error),
            None => self.listener.accept().await,
        }
    }
}

#[tokio::test]
async fn where_no_connection_can_be_taken_it_is_tried_again_after_a_pause() {
    /// EMFILE: too many open files.
    const NO_FILES: i32 = 24;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address"));
    let pause = Duration::from_millis(50);
    let none_left = || io::Error::from_raw_os_error(NO_FILES);
    let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
    let errors = Mutex::new(vec![none_left(), aborted(), none_left(), aborted()]);
    let failing = Failing { listener, errors };
    let began = Instant::now();
    let (accepted, client) = tokio::join!(accept(&failing, pause), client);
    assert_eq!(
        accepted.1,
        client.expect("connected").local_addr().expect("an address")
    );
    assert!(
        began.elapsed() >= pause * 2,
        "a pause for each that was not the client's"
    );
    assert!(began.elapsed() < pause * 40, "and no other");
}

#[test]
fn connections_are_fewer_than_files() {
    let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                  Max processes             127238               127238               processes \n\
                  Max open files            1024                 524288               files     \n";
    assert_eq!(open_files_max(limits), Some(1024));
    assert_eq!(open_files_max(&limits.replace("1024 ", "unlimited ")), None);
    assert_eq!(open_files_max(""), None);
}
