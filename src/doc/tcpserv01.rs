use std::net::{Ipv4Addr, SocketAddr};
use unp::*;

fn main() -> anyhow::Result<()> {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
    let servaddr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, SERV_PORT)); // INADDR_ANY
    Bind(&listenfd, servaddr)?;
    Listen(&listenfd, LISTENQ)?;

    loop {
        let (connfd, _cliaddr) = Accept(&listenfd)?;
        // SAFETY: this process is single-threaded.
        if let ForkResult::Child = unsafe { Fork() }? {
            Close(listenfd); // close listening socket
            str_echo(&connfd).unwrap_or_else(|e| err_quit(&e)); // process the request
            exit(0);
        }
        Close(connfd); // parent closes connected socket
    }
}
