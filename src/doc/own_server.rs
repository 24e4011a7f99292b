use std::io::BufReader;
use std::net::SocketAddr;
use unp::*;

/// Answers each line with its length, and a line of more than MAXLINE bytes piece by piece.
fn process_handler(connfd: &Sockfd) -> anyhow::Result<()> {
    let mut lines = BufReader::new(connfd);
    let mut line = Vec::new();
    while Readline(&mut lines, &mut line, MAXLINE)? > 0 {
        Writen(connfd, format!("{}\n", line.len()).as_bytes())?;
    }
    Ok(()) // the client's FIN
}

fn concurrent_server(servaddr: SocketAddr) -> anyhow::Result<()> {
    let listenfd = Socket(AF_INET, SOCK_STREAM, 0)?;
    Setsockopt(&listenfd, SO_REUSEADDR, true)?; // a restarted server can bind in TIME_WAIT
    Bind(&listenfd, servaddr)?;
    Listen(&listenfd, LISTENQ)?;
    Signal(SIGCHLD, sig_chld)?; // no zombies
    loop {
        let (connfd, cliaddr) = Accept(&listenfd)?;

        // SAFETY: this process has one thread.
        let childpid = unsafe { Fork() };
        if let Ok(ForkResult::Child) = childpid {
            Close(listenfd);
            if let Err(error) = process_handler(&connfd) {
                err_ret(&error.context(cliaddr));
                _exit(1);
            }
            _exit(0); // the exit closes connfd
        }
        if let Err(error) = childpid {
            err_ret(&error.context(cliaddr));
        }
        Close(connfd);
    }
}

fn main() {
    let servaddr = SocketAddr::from(([0, 0, 0, 0], SERV_PORT)); // all addresses of the host
    if let Err(error) = concurrent_server(servaddr) {
        err_quit(&error);
    }
}
