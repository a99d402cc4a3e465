//! faultproxy: a small TCP / HTTP-1.1 fault-injecting proxy for tests. Only tokio. Binds 127.0.0.1 only.
//!   faultproxy --listen PORT --target HOST:PORT --ctl PORT [--tcp] [--seed N]
//! Control (plain GET, curl-able):
//!   /set?latency_ms=20&jitter_ms=5&bw=1048576      whole-proxy latency per request (HTTP) or per read (TCP); bytes/s each way
//!   /rule?fault=F[&method=PUT][&path=substr][&prob=0.1][&every=7][&count=1][&after=65536][&ms=1000]
//!       F: e503 e500 e429 (answered by the proxy, body read and dropped; with `after`, a Retry-After of so many seconds), lost_ack (request delivered, response swallowed, RST),
//!          rst (RST at once), rst_body (RST after `after` request-body bytes), cut_resp (RST after `after` response-body bytes),
//!          dup (deliver it twice, answer with the second answer; for bodies and answers that say their length),
//!          short_resp (FIN instead of RST there), stall (deliver, then answer after `ms`), corrupt_resp (flip a bit at `after` in the body)
//!   /cold?ms=1000    from now on, what is written with `x-amz-storage-class: GLACIER` or `DEEP_ARCHIVE` answers GET with 403
//!       InvalidObjectState until `POST ?restore` was seen (answered here) and `ms` have passed; HEAD shows class and state
//!   /reset (drop all rules and settings)   /stats
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

type Res<T> = std::io::Result<T>;
#[derive(Clone, Debug)]
struct Rule {
    fault: String,
    method: String,
    path: String,
    prob: f64,
    every: u64,
    count: u64,
    after: u64,
    ms: u64,
    seen: u64,
    hits: u64,
}
#[derive(Default)]
struct St {
    latency: u64,
    jitter: u64,
    bw: u64,
    rules: Vec<Rule>,
    rng: u64,
    reqs: u64,
    conns: u64,
    up: u64,
    down: u64,
    injected: HashMap<String, u64>,
    /// How long thawing takes, when cold classes are played; and by path the class, and since when it thaws.
    cold_ms: Option<u64>,
    cold: HashMap<String, (String, Option<Instant>)>,
}
/// What the proxy answers itself about a cold object: status, headers, body; or headers to be added to the server's answer.
enum Cold {
    Answer(&'static str, String),
    Headers(String),
    Pass,
}
type Sh = Arc<Mutex<St>>;
impl St {
    fn rnd(&mut self) -> f64 {
        let mut s = self.rng | 1;
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        self.rng = s;
        (s >> 11) as f64 / (1u64 << 53) as f64
    }
    fn pick(&mut self, method: &str, path: &str) -> Option<Rule> {
        self.reqs += 1;
        for i in 0..self.rules.len() {
            let r = &mut self.rules[i];
            if (!r.method.is_empty() && r.method != method) || !path.contains(&r.path) || r.hits >= r.count {
                continue;
            }
            r.seen += 1;
            let (every, prob, seen) = (r.every, r.prob, r.seen);
            let hit = if every > 0 { seen % every == 0 } else { prob >= 1.0 || self.rnd() < prob };
            if hit {
                let r = &mut self.rules[i];
                r.hits += 1;
                let r = r.clone();
                *self.injected.entry(r.fault.clone()).or_default() += 1;
                return Some(r);
            }
        }
        None
    }
    fn cold(&mut self, method: &str, url: &str, class: Option<&str>) -> Cold {
        let Some(ms) = self.cold_ms else { return Cold::Pass };
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let error = |code: &str| format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>played by the proxy</Message></Error>");
        if let Some(class) = class.filter(|class| ["GLACIER", "DEEP_ARCHIVE"].contains(class)) {
            *self.injected.entry("cold_put".into()).or_default() += 1;
            self.cold.insert(path.into(), (class.into(), None));
            return Cold::Pass;
        }
        let Some((class, since)) = self.cold.get_mut(path) else { return Cold::Pass };
        let thawed = since.is_some_and(|since| since.elapsed() >= Duration::from_millis(ms));
        let is_restore = query.split('&').any(|part| part == "restore" || part == "restore=");
        let (kind, answer) = match method {
            "POST" if is_restore && since.is_some() && !thawed => {
                ("restore_again", Cold::Answer("409 Conflict", error("RestoreAlreadyInProgress")))
            }
            "POST" if is_restore => {
                since.get_or_insert_with(Instant::now);
                ("restore", Cold::Answer("202 Accepted", String::new()))
            }
            "GET" if !thawed => ("cold_get", Cold::Answer("403 Forbidden", error("InvalidObjectState"))),
            "HEAD" => {
                let state = match (since, thawed) {
                    (None, _) => "",
                    (Some(_), false) => "x-amz-restore: ongoing-request=\"true\"\r\n",
                    (Some(_), true) => {
                        "x-amz-restore: ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\"\r\n"
                    }
                };
                ("cold_head", Cold::Headers(format!("x-amz-storage-class: {class}\r\n{state}")))
            }
            "DELETE" => {
                self.cold.remove(path);
                return Cold::Pass;
            }
            _ => return Cold::Pass,
        };
        *self.injected.entry(kind.into()).or_default() += 1;
        answer
    }
    fn delay(&mut self) -> Duration {
        let j = if self.jitter > 0 { (self.rnd() * self.jitter as f64) as u64 } else { 0 };
        Duration::from_millis(self.latency + j)
    }
}
fn rst(s: &TcpStream) {
    #[allow(deprecated)]
    let _ = s.set_linger(Some(Duration::ZERO));
}
async fn pace(st: &Sh, n: usize, t0: &mut Instant, sent: &mut u64) {
    let bw = st.lock().unwrap().bw;
    if bw == 0 {
        return;
    }
    *sent += n as u64;
    let want = Duration::from_secs_f64(*sent as f64 / bw as f64);
    let el = t0.elapsed();
    if want > el {
        tokio::time::sleep(want - el).await;
    }
    if el > Duration::from_secs(5) {
        *t0 = Instant::now();
        *sent = 0;
    }
}
struct Head {
    lines: Vec<String>,
    raw: Vec<u8>,
}
impl Head {
    async fn read(r: &mut BufReader<TcpStream>) -> Res<Option<Head>> {
        let (mut raw, mut lines) = (vec![], vec![]);
        loop {
            let at = raw.len();
            if r.read_until(b'\n', &mut raw).await? == 0 {
                return Ok(None);
            }
            let l = String::from_utf8_lossy(&raw[at..]).trim_end().to_string();
            if l.is_empty() {
                if lines.is_empty() {
                    raw.clear();
                    continue;
                }
                return Ok(Some(Head { lines, raw }));
            }
            lines.push(l);
            if raw.len() > 1 << 20 {
                return Err(std::io::Error::other("head too long"));
            }
        }
    }
    fn get(&self, k: &str) -> Option<&str> {
        self.lines[1..].iter().find_map(|l| {
            let (a, b) = l.split_once(':')?;
            a.eq_ignore_ascii_case(k).then(|| b.trim())
        })
    }
    fn body(&self) -> Body {
        if self.get("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            Body::Chunked
        } else {
            match self.get("content-length").and_then(|v| v.parse().ok()) {
                Some(n) => Body::Len(n),
                None => Body::None,
            }
        }
    }
}
#[derive(Clone, Copy)]
enum Body {
    None,
    Len(u64),
    Chunked,
    Eof,
}
enum End {
    Done,
    Cut,
}
/// copy one body; stop after `cut` bytes if given; flip one bit at `flip`
async fn body(
    st: &Sh,
    src: &mut BufReader<TcpStream>,
    mut dst: Option<&mut TcpStream>,
    kind: Body,
    cut: Option<u64>,
    flip: Option<u64>,
    up: bool,
) -> Res<End> {
    let (mut done, mut t0, mut sent) = (0u64, Instant::now(), 0u64);
    let mut buf = vec![0u8; 64 << 10];
    let mut left = match kind {
        Body::None => return Ok(End::Done),
        Body::Len(n) => n,
        Body::Eof => u64::MAX,
        Body::Chunked => 0,
    };
    loop {
        let mut prefix = vec![];
        if let Body::Chunked = kind {
            src.read_until(b'\n', &mut prefix).await?;
            left = u64::from_str_radix(String::from_utf8_lossy(&prefix).split(';').next().unwrap_or("").trim(), 16)
                .map_err(std::io::Error::other)?;
            if let Some(d) = dst.as_deref_mut() {
                d.write_all(&prefix).await?;
            }
        }
        let last = left == 0;
        while left > 0 {
            let mut n = (buf.len() as u64).min(left) as usize;
            if let Some(c) = cut {
                if done >= c {
                    return Ok(End::Cut);
                }
                n = n.min((c - done) as usize);
            }
            let n = src.read(&mut buf[..n]).await?;
            if n == 0 {
                return if let Body::Eof = kind {
                    Ok(End::Done)
                } else {
                    Err(std::io::ErrorKind::UnexpectedEof.into())
                };
            }
            if let Some(f) = flip {
                if f >= done && f < done + n as u64 {
                    buf[(f - done) as usize] ^= 1;
                }
            }
            pace(st, n, &mut t0, &mut sent).await;
            if let Some(d) = dst.as_deref_mut() {
                d.write_all(&buf[..n]).await?;
            }
            done += n as u64;
            left -= n as u64;
            {
                let mut s = st.lock().unwrap();
                if up { s.up += n as u64 } else { s.down += n as u64 }
            }
        }
        match kind {
            Body::Chunked => {
                let mut crlf = vec![];
                loop {
                    crlf.clear();
                    src.read_until(b'\n', &mut crlf).await?;
                    if let Some(d) = dst.as_deref_mut() {
                        d.write_all(&crlf).await?;
                    }
                    if !last || crlf.len() <= 2 {
                        break;
                    }
                }
                if last {
                    return Ok(End::Done);
                }
            }
            _ => return Ok(End::Done),
        }
    }
}
async fn http(st: Sh, c: TcpStream, target: String) -> Res<()> {
    let u = TcpStream::connect(&target).await?;
    u.set_nodelay(true)?;
    c.set_nodelay(true)?;
    let (mut c, mut u) = (BufReader::with_capacity(64 << 10, c), BufReader::with_capacity(64 << 10, u));
    loop {
        // an upstream that closes an idle connection closes the client's too, at once (as without a proxy)
        tokio::select! { r = c.fill_buf() => { if r?.is_empty() { return Ok(()); } } _ = u.fill_buf() => return Ok(()) }
        let Some(h) = Head::read(&mut c).await? else { return Ok(()) };
        let mut it = h.lines[0].split(' ');
        let (method, path) = (it.next().unwrap_or("").to_string(), it.next().unwrap_or("").to_string());
        let (rule, d) = {
            let mut s = st.lock().unwrap();
            (s.pick(&method, &path), s.delay())
        };
        if !d.is_zero() {
            tokio::time::sleep(d).await;
        }
        let f = rule.as_ref().map(|r| r.fault.as_str()).unwrap_or("");
        let (after, ms) = rule.as_ref().map(|r| (r.after, r.ms)).unwrap_or((0, 0));
        if h.get("expect").is_some() {
            c.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if let Some(code) = f.strip_prefix('e') {
            if let Ok(code) = code.parse::<u16>() {
                body(&st, &mut c, None, h.body(), None, None, true).await?;
                let (name, b) = if code == 429 || code == 503 {
                    ("SlowDown", "Please reduce your request rate.")
                } else {
                    ("InternalError", "injected")
                };
                let b = format!(
                    "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{name}</Code><Message>{b}</Message></Error>"
                );
                let b = if method == "HEAD" { String::new() } else { b };
                let after = if after > 0 { format!("retry-after: {after}\r\n") } else { String::new() };
                c.get_mut().write_all(format!("HTTP/1.1 {code} Injected\r\ncontent-type: application/xml\r\n{after}content-length: {}\r\n\r\n{b}", b.len()).as_bytes()).await?;
                continue;
            }
        }
        let cold = st.lock().unwrap().cold(&method, &path, h.get("x-amz-storage-class"));
        if let Cold::Answer(status, b) = &cold {
            body(&st, &mut c, None, h.body(), None, None, true).await?;
            c.get_mut().write_all(format!("HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{b}", b.len()).as_bytes()).await?;
            continue;
        }
        if f == "rst" {
            rst(c.get_ref());
            return Ok(());
        }
        let raw: Vec<u8> = if h.get("expect").is_some() {
            let mut v = vec![];
            for l in &h.lines {
                if !l.to_ascii_lowercase().starts_with("expect:") {
                    v.extend_from_slice(l.as_bytes());
                    v.extend_from_slice(b"\r\n");
                }
            }
            v.extend_from_slice(b"\r\n");
            v
        } else {
            h.raw.clone()
        };
        if f == "dup" {
            // the request arrives twice, one after the other; the client sees the second answer
            let mut sent = vec![];
            if let Body::Len(n) = h.body() {
                sent.resize(n as usize, 0);
                c.read_exact(&mut sent).await?;
            }
            let mut last = (vec![], vec![]);
            for _ in 0..2 {
                u.get_mut().write_all(&raw).await?;
                u.get_mut().write_all(&sent).await?;
                st.lock().unwrap().up += sent.len() as u64;
                let mut r = Head::read(&mut u).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
                while r.lines[0].contains(" 100 ") {
                    r = Head::read(&mut u).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
                }
                let code = r.lines[0].split(' ').nth(1).unwrap_or("").to_string();
                let mut answer = vec![];
                if let (Body::Len(n), false) = (r.body(), method == "HEAD" || code == "204" || code == "304") {
                    answer.resize(n as usize, 0);
                    u.read_exact(&mut answer).await?;
                }
                last = (r.raw, answer);
            }
            st.lock().unwrap().down += last.1.len() as u64;
            c.get_mut().write_all(&last.0).await?;
            c.get_mut().write_all(&last.1).await?;
            continue;
        }
        u.get_mut().write_all(&raw).await?;
        if let End::Cut =
            body(&st, &mut c, Some(u.get_mut()), h.body(), (f == "rst_body").then_some(after), None, true).await?
        {
            rst(c.get_ref());
            rst(u.get_ref());
            return Ok(());
        }
        let mut r = Head::read(&mut u).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        while r.lines[0].contains(" 100 ") {
            r = Head::read(&mut u).await?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        }
        let code = r.lines[0].split(' ').nth(1).unwrap_or("").to_string();
        let kind = if method == "HEAD" || code == "204" || code == "304" {
            Body::None
        } else {
            match r.body() {
                Body::None => Body::Eof,
                k => k,
            }
        };
        match f {
            "lost_ack" => {
                body(&st, &mut u, None, kind, None, None, false).await?;
                rst(c.get_ref());
                return Ok(());
            }
            "stall" => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => {}
        }
        if let Cold::Headers(added) = &cold {
            let old = |l: &&String| !["x-amz-storage-class", "x-amz-restore"].contains(&l.split(':').next().unwrap_or("").to_ascii_lowercase().as_str());
            let kept: Vec<&str> = r.lines.iter().filter(old).map(String::as_str).collect();
            r.raw = format!("{}\r\n{added}\r\n", kept.join("\r\n")).into_bytes();
        }
        c.get_mut().write_all(&r.raw).await?;
        let cut = (f == "cut_resp" || f == "short_resp").then_some(after);
        if let End::Cut =
            body(&st, &mut u, Some(c.get_mut()), kind, cut, (f == "corrupt_resp").then_some(after), false).await?
        {
            if f == "cut_resp" {
                rst(c.get_ref());
            }
            return Ok(());
        }
        if let Body::Eof = kind {
            return Ok(());
        }
    }
}
async fn tcp(st: Sh, c: TcpStream, target: String) -> Res<()> {
    let u = TcpStream::connect(&target).await?;
    u.set_nodelay(true)?;
    c.set_nodelay(true)?;
    let rule = st.lock().unwrap().pick("TCP", "");
    if rule.as_ref().is_some_and(|r| r.fault == "rst") {
        rst(&c);
        return Ok(());
    }
    let cut = rule.as_ref().filter(|r| r.fault == "cut_resp").map(|r| r.after);
    let cutup = rule.as_ref().filter(|r| r.fault == "rst_body").map(|r| r.after);
    let (mut cr, mut cw) = c.into_split();
    let (mut ur, mut uw) = u.into_split();
    async fn pump(
        st: Sh,
        r: &mut tokio::net::tcp::OwnedReadHalf,
        w: &mut tokio::net::tcp::OwnedWriteHalf,
        cut: Option<u64>,
        up: bool,
    ) -> Res<bool> {
        let (mut b, mut t, mut s, mut tot) = (vec![0; 64 << 10], Instant::now(), 0, 0u64);
        loop {
            let n = r.read(&mut b).await?;
            if n == 0 {
                let _ = w.shutdown().await;
                return Ok(false);
            }
            let d = st.lock().unwrap().delay();
            if !d.is_zero() {
                tokio::time::sleep(d).await;
            }
            pace(&st, n, &mut t, &mut s).await;
            w.write_all(&b[..n]).await?;
            tot += n as u64;
            {
                let mut s = st.lock().unwrap();
                if up { s.up += n as u64 } else { s.down += n as u64 }
            }
            if cut.is_some_and(|c| tot >= c) {
                return Ok(true);
            }
        }
    }
    let (st1, st2) = (st.clone(), st.clone());
    let cutit = {
        let a = pump(st1, &mut cr, &mut uw, cutup, true);
        let b = pump(st2, &mut ur, &mut cw, cut, false);
        tokio::pin!(a, b);
        tokio::select! { x = &mut a => match x { Ok(false) => b.await.unwrap_or(true), x => x.unwrap_or(true) }, x = &mut b => match x { Ok(false) => a.await.unwrap_or(true), x => x.unwrap_or(true) } }
    };
    if cutit {
        if let Ok(s) = cr.reunite(cw) {
            rst(&s);
        }
        if let Ok(s) = ur.reunite(uw) {
            rst(&s);
        }
    }
    Ok(())
}
async fn ctl(st: Sh, s: TcpStream) -> Res<()> {
    let mut s = BufReader::new(s);
    let Some(h) = Head::read(&mut s).await? else { return Ok(()) };
    let url = h.lines[0].split(' ').nth(1).unwrap_or("/").to_string();
    let (p, q) = url.split_once('?').unwrap_or((&url, ""));
    let m: HashMap<&str, &str> = q.split('&').filter_map(|x| x.split_once('=')).collect();
    let n = |k: &str, d: u64| m.get(k).and_then(|v| v.parse().ok()).unwrap_or(d);
    let out = {
        let mut g = st.lock().unwrap();
        match p {
            "/set" => {
                g.latency = n("latency_ms", 0);
                g.jitter = n("jitter_ms", 0);
                g.bw = n("bw", 0);
                "ok".into()
            }
            "/rule" => {
                let prob = m.get("prob").and_then(|v| v.parse().ok()).unwrap_or(1.0);
                let t = |k: &str| m.get(k).unwrap_or(&"").to_string();
                g.rules.push(Rule {
                    fault: t("fault"),
                    method: t("method"),
                    path: t("path"),
                    prob,
                    every: n("every", 0),
                    count: n("count", u64::MAX),
                    after: n("after", 0),
                    ms: n("ms", 1000),
                    seen: 0,
                    hits: 0,
                });
                "ok".into()
            }
            "/cold" => {
                g.cold_ms = Some(n("ms", 1000));
                "ok".into()
            }
            "/reset" => {
                let rng = g.rng;
                *g = St { rng, ..St::default() };
                "ok".into()
            }
            _ => format!(
                "conns={} reqs={} up={} down={} injected={:?} rules={:?}",
                g.conns, g.reqs, g.up, g.down, g.injected, g.rules
            ),
        }
    };
    s.get_mut()
        .write_all(
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{out}\n", out.len() + 1)
                .as_bytes(),
        )
        .await
}
#[tokio::main]
async fn main() -> Res<()> {
    let a: Vec<String> = std::env::args().collect();
    let o = |k: &str| a.iter().position(|x| x == k).and_then(|i| a.get(i + 1)).cloned();
    let (l, t, c) = (o("--listen").expect("--listen"), o("--target").expect("--target"), o("--ctl").expect("--ctl"));
    let raw = a.iter().any(|x| x == "--tcp");
    let st: Sh =
        Arc::new(Mutex::new(St { rng: o("--seed").and_then(|s| s.parse().ok()).unwrap_or(42), ..St::default() }));
    let cl = TcpListener::bind(format!("127.0.0.1:{c}")).await?;
    let st2 = st.clone();
    tokio::spawn(async move {
        loop {
            if let Ok((s, _)) = cl.accept().await {
                let _ = tokio::time::timeout(Duration::from_secs(5), ctl(st2.clone(), s)).await;
            }
        }
    });
    let ln = TcpListener::bind(format!("127.0.0.1:{l}")).await?;
    loop {
        let (s, _) = ln.accept().await?;
        let (st, t) = (st.clone(), t.clone());
        st.lock().unwrap().conns += 1;
        tokio::spawn(async move {
            if raw {
                let _ = tcp(st, s, t).await;
            } else {
                let _ = http(st, s, t).await;
            }
        });
    }
}
