//! The simulated API, in a separate process so that its work is not counted.

use rcgen::CertifiedKey;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use whereby::simulator::{
    Options, OrganizationSeed, RoomSeed, Seed, SessionSeed, Simulator, Switches,
};

/// The variable that makes this program act as the server.
pub(crate) const SERVER: &str = "WHEREBY_BENCH_SERVER";

/// The variable with the file that the server writes its certificate to.
const CERTIFICATE: &str = "WHEREBY_BENCH_CERTIFICATE";

/// The number of rooms.
pub(crate) const ROOMS: u32 = 100;

/// The number of rooms with a meeting: as many as one call of list_meetings can read.
pub(crate) const USED: u32 = 8;

/// Serves until standard input closes, at the latest when the benchmark exits.
pub(crate) async fn serve() {
    let mut switches = Switches::default();
    switches.set("rate-limit", "0").expect("a switch");
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let rooms = RoomSeed::many("bench-", ROOMS).into_iter().zip(1..).map(|(room, number)| {
        let session = || SessionSeed::began(hours(number)).lasting(Duration::from_secs(600));
        if number <= USED { room.created(hours(100)).session(session()) } else { room }
    });
    let seed = Seed::Rooms(rooms.collect());
    let simulator = Simulator::start(Options {
        switches,
        record: false,
        organizations: vec![OrganizationSeed::new("bench", seed)],
        ..Options::default()
    })
    .await
    .expect("the simulator starts");
    let url = simulator.url();
    let (plain, path) = url["http://".len()..].split_once('/').expect("a URL");
    let tls = serve_tls(plain.to_owned()).await;
    #[expect(clippy::print_stdout, reason = "the URLs and the key for the benchmark")]
    {
        println!("{url}\n{}\nhttps://{tls}/{path}", simulator.token());
    }
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
    end.await.expect("standard input ends");
}

/// Serves over TLS what a server at an address serves, and returns its own address.
async fn serve_tls(behind: String) -> SocketAddr {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]);
    let CertifiedKey { cert, signing_key } = signed.expect("a certificate");
    let file = std::env::var_os(CERTIFICATE).expect("a variable of the server");
    std::fs::write(file, cert.pem()).expect("a file");
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .expect("the key of the certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                stream.set_nodelay(true)?;
                let mut client = acceptor.accept(stream).await?;
                let mut server = TcpStream::connect(behind).await?;
                server.set_nodelay(true)?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    address
}

/// The server's process.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    pub(crate) token: String,
    /// The URL over TLS.
    pub(crate) tls_url: String,
    /// The file of its certificate.
    pub(crate) certificate: PathBuf,
    _folder: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let certificate = folder.path().join("certificate.pem");
        let mut child = Command::new(program)
            .env(SERVER, "1")
            .env(CERTIFICATE, &certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines().map(|line| line.expect("a line"));
        let mut line = || lines.next().expect("the server prints its URL");
        let (url, token, tls_url) = (line(), line(), line());
        Self { url, token, tls_url, certificate, _folder: folder, child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // This closes its standard input.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
