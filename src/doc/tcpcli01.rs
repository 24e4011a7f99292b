use std::io::{stdin, stdout};
use unp::*;

fn main() -> anyhow::Result<()> {
    let argv: Vec<_> = std::env::args().collect();
    anyhow::ensure!(argv.len() == 2, "usage: tcpcli <IPaddress>");

    let sockfd = Socket(AF_INET, SOCK_STREAM, 0)?;

    let mut servaddr = Inet_pton(&argv[1])?;
    servaddr.set_port(SERV_PORT);

    Connect(&sockfd, servaddr)?;

    str_cli(stdin(), &sockfd, stdout())?; // do it all

    exit(0);
}
