// Rust's tokio: a task for each connection with a buffer of 16 KiB, reads and writes in turn, on the current-thread runtime
// (every server here has one CPU). TCP_NODELAY is set, the backlog is 4096. Kinds: echo, broadcast, source, sink (see
// servers/server.ts). A broadcast writes to each socket directly, without a channel between.
use std::io::{self, BufRead};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

static CONNECTIONS: AtomicI64 = AtomicI64::new(0);
static ERRORS: AtomicI64 = AtomicI64::new(0);

struct Shared {
    parameter: usize,
    block: Vec<u8>,
    everybody: Mutex<Vec<(u64, Arc<TcpStream>)>>,
    next: AtomicU64,
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn write_shared(stream: &TcpStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match stream.try_write(data) {
            Ok(n) => data = &data[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn broadcast(stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let stream = Arc::new(stream);
    let id = shared.next.fetch_add(1, Relaxed);
    write_shared(&stream, b"+").await?;
    shared.everybody.lock().unwrap().push((id, stream.clone()));
    let mut buffer = vec![0; 16 * 1024];
    let result = loop {
        if let Err(error) = stream.readable().await {
            break Err(error);
        }
        match stream.try_read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                let everybody: Vec<_> = shared.everybody.lock().unwrap().iter().map(|(_, each)| each.clone()).collect();
                for _ in 0..shared.parameter {
                    for each in &everybody {
                        let _ = write_shared(each, &buffer[..n]).await;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => break Err(error),
        }
    };
    shared.everybody.lock().unwrap().retain(|(each, _)| *each != id);
    result
}

async fn source(mut stream: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut left = shared.parameter;
    while left > 0 {
        let n = left.min(shared.block.len());
        stream.write_all(&shared.block[..n]).await?;
        left -= n;
    }
    stream.shutdown().await
}

async fn sink(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut count = 0;
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return stream.write_all(count.to_string().as_bytes()).await;
        }
        count += n;
    }
}

async fn live(stream: TcpStream, kind: &'static str, shared: Arc<Shared>) {
    CONNECTIONS.fetch_add(1, Relaxed);
    let result = match kind {
        "echo" => echo(stream).await,
        "broadcast" => broadcast(stream, shared).await,
        "source" => source(stream, shared).await,
        _ => sink(stream).await,
    };
    CONNECTIONS.fetch_sub(1, Relaxed);
    if result.is_err() {
        ERRORS.fetch_add(1, Relaxed);
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let kind: &'static str = match arguments.get(1).map(String::as_str) {
        Some("echo") => "echo",
        Some("broadcast") => "broadcast",
        Some("source") => "source",
        Some("sink") => "sink",
        other => panic!("no such kind: {other:?}"),
    };
    let shared = Arc::new(Shared {
        parameter: arguments.get(2).map_or(0, |text| text.parse().unwrap()),
        block: (0..65536usize).map(|p| (p ^ (p >> 8)) as u8).collect(),
        everybody: Mutex::new(Vec::new()),
        next: AtomicU64::new(0),
    });
    std::thread::spawn(|| {
        for _ in io::stdin().lock().lines() {
            println!("{{\"connections\":{},\"errors\":{}}}", CONNECTIONS.load(Relaxed), ERRORS.load(Relaxed));
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async move {
        let socket = TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:0".parse().unwrap())?;
        let listener = socket.listen(4096)?;
        println!("{{\"port\":{},\"pid\":{},\"engine\":\"tokio\"}}", listener.local_addr()?.port(), std::process::id());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::task::spawn(live(stream, kind, shared.clone()));
        }
    })
}
