//! Fronts share their work.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;

/// Says the name of its thread to each connection, then holds it until it is closed.
async fn name_of_thread(mut incoming: Incoming, stop: Stop) -> io::Result<()> {
    let greet = async {
        while let Some(connection) = incoming.next().await {
            let mut connection = connection.unwrap();
            tokio::spawn(async move {
                let name = thread::current().name().unwrap().to_owned();
                connection.write_all(name.as_bytes()).await.unwrap();
                connection.read_u8().await.unwrap_err();
            });
        }
    };
    tokio::select! {
        () = greet => {}
        () = stop.requested() => {}
    }
    Ok(())
}

#[tokio::test]
async fn connections_are_spread_beyond_the_limit_closed_and_a_closed_one_makes_room() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let stop = async { drop(ended.await) };
    let serving = tokio::spawn(serve(listener, (2, 2), stop, name_of_thread));
    let mut held = Vec::new();
    for wanted in ["front-0", "front-1"] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let mut name = [0; 7];
        stream.read_exact(&mut name).await.unwrap();
        assert_eq!(name, wanted.as_bytes());
        held.push(stream);
    }
    let mut more = TcpStream::connect(addr).await.unwrap();
    assert_eq!(more.read(&mut [0; 1]).await.unwrap(), 0, "closed at once");
    drop(held);
    let started = std::time::Instant::now();
    loop {
        let mut again = TcpStream::connect(addr).await.unwrap();
        if again.read(&mut [0; 7]).await.unwrap() > 0 {
            break;
        }
        assert!(
            started.elapsed().as_secs() < 10,
            "a closed connection makes room"
        );
    }
    end.send(()).unwrap();
    serving.await.unwrap().unwrap();
}
