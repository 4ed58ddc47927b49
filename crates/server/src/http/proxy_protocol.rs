//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): the real peer of a connection that a configured proxy
//! forwards. What is read is bounded here; the time for it is bounded by whoever calls.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1, with its end of line.
const TEXT_MAX: usize = 107;
/// Longest part of version 2 behind its first 16 bytes: addresses and what proxies add to them.
const BINARY_MAX: usize = 4096;

/// Why a connection of a configured proxy is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("it ended before its PROXY header: {0}")]
    Read(#[from] io::Error),
    #[error("it does not begin with a PROXY header")]
    Missing,
    #[error("its PROXY header of version 1 is malformed")]
    Text,
    #[error("its PROXY header of version 2 has a version, command or length that does not exist")]
    Binary,
    #[error("its PROXY header is longer than {BINARY_MAX} bytes")]
    Long,
    #[error("its PROXY header is for something else than TCP over IPv4 or IPv6")]
    Family,
}

/// Reads a header and not one byte more: the peer that it names, or none for a connection of the proxy's own.
pub(super) async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, ProxyError> {
    // Both versions have more bytes than this.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return binary(stream).await;
    }
    if !start.starts_with(TEXT) {
        return Err(ProxyError::Missing);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == TEXT_MAX {
            return Err(ProxyError::Text);
        }
        line.push(stream.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
    text(line.ok_or(ProxyError::Text)?).ok_or(ProxyError::Text)
}

/// `PROXY TCP4|TCP6 source destination port port`, or `PROXY UNKNOWN` and anything.
fn text(line: &str) -> Option<Option<IpAddr>> {
    if line.bytes().any(|b| b == b'\r' || b == b'\n') {
        return None;
    }
    let mut parts = line.split(' ').skip(1);
    let family = parts.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let source: IpAddr = parts.next()?.parse().ok()?;
    let destination: IpAddr = parts.next()?.parse().ok()?;
    let ports = [parts.next()?, parts.next()?];
    let v4 = match family {
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let whole = parts.next().is_none() && ports.into_iter().all(is_port);
    (whole && source.is_ipv4() == v4 && destination.is_ipv4() == v4).then_some(Some(source))
}

fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    digits && text.parse::<u16>().is_ok()
}

/// What follows the signature: version and command, family and protocol, length, addresses, and additions that are skipped.
async fn binary<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<IpAddr>, ProxyError> {
    let [command, family] = stream.read_u16().await?.to_be_bytes();
    let length = usize::from(stream.read_u16().await?);
    if length > BINARY_MAX {
        return Err(ProxyError::Long);
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match (command, family) {
        // The proxy itself, to see whether we are here.
        (0x20, _) | (0x21, 0x00) => Ok(None),
        (0x21, 0x11) => match rest.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Ok(Some(Ipv4Addr::new(*a, *b, *c, *d).into())),
            None => Err(ProxyError::Binary),
        },
        (0x21, 0x21) => {
            let source = rest.first_chunk::<36>().and_then(|addresses| addresses.first_chunk::<16>());
            source.map(|source| Some(Ipv6Addr::from(*source).into())).ok_or(ProxyError::Binary)
        }
        (0x21, _) => Err(ProxyError::Family),
        _ => Err(ProxyError::Binary),
    }
}

#[cfg(test)]
mod tests;
