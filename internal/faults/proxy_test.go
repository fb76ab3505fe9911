package faults

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/bulksub/bulksub/internal/trial"
)

// fate is what becomes of a message on its way.
type fate int

const (
	pass  fate = iota
	cut        // its connection is closed, both ways, without it
	stall      // its connection stays open, and nothing more comes through
	half       // likewise, when half of it has come through
)

// message is one message of the PostgreSQL protocol (documentation, "Message Formats").
type message struct {
	session *session
	client  bool // the program said it, and not the server
	kind    byte
	body    []byte
}

// asks reports whether the message is a statement with the words in it.
func (m message) asks(words string) bool {
	return m.client && (m.kind == 'Q' || m.kind == 'P') && bytes.Contains(bytes.ToLower(m.body), []byte(words))
}

// ends reports whether the message ends a request or the reply to one.
func (m message) ends() bool {
	return m.client && (m.kind == 'Q' || m.kind == 'S' || m.kind == 'c') || !m.client && m.kind == 'Z'
}

// commits reports whether the message ends a transaction that has written results.
func (m message) commits() bool { return m.session.copied.Load() && m.asks("commit") }

// committed reports whether the message says that results are written.
func (m message) committed() bool {
	return m.session.copied.Load() && !m.client && m.kind == 'C' && bytes.HasPrefix(m.body, []byte("COMMIT"))
}

// writes reports whether the message carries results on their way into the ledger.
func (m message) writes() bool {
	return m.client && m.session.copied.Load() && len(m.body) > 16<<10
}

// code is the SQLSTATE of an error.
func (m message) code() string {
	if m.client || m.kind != 'E' {
		return ""
	}
	for field := range bytes.SplitSeq(m.body, []byte{0}) {
		if len(field) > 1 && field[0] == 'C' {
			return string(field[1:])
		}
	}
	return ""
}

// rule decides about messages, one at a time for each direction of a connection.
type rule func(message) fate

// proxy stands between the program and PostgreSQL, and reads every message.
type proxy struct {
	t        testing.TB
	listener net.Listener
	done     chan struct{}
	all      sync.WaitGroup

	rule     atomic.Pointer[rule]
	upstream atomic.Pointer[pgx.ConnConfig]

	mu    sync.Mutex
	codes map[string]int
	waits []wait
	open  map[net.Conn]bool
}

// wait is for an error that the program is told.
type wait struct {
	code  string
	times int
	told  chan struct{}
}

// session is one connection of the program.
type session struct {
	program, server net.Conn
	backend         atomic.Uint32 // process id of the server's end
	copied          atomic.Bool   // it has written results since its last transaction began
	committed       atomic.Bool   // and they are there
	stalled         atomic.Bool
}

func newProxy(t testing.TB, databaseURL string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{t: t, listener: listener, done: make(chan struct{}), codes: make(map[string]int), open: make(map[net.Conn]bool)}
	p.leadTo(databaseURL)
	p.all.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// nowhere is where connections lead that are to be refused.
const nowhere = "postgres://127.0.0.1:1/nowhere"

// leadTo is where connections lead from now on.
func (p *proxy) leadTo(databaseURL string) {
	config, err := pgx.ParseConfig(databaseURL)
	must(p.t, err)
	p.upstream.Store(config)
}

// url is the way through the proxy, as a user ("": the superuser) and with settings such as "lock_timeout=50ms" for each
// session. The password is the one that is looked for everywhere.
func (p *proxy) url(user string, settings ...string) string {
	config := p.upstream.Load()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cmp.Or(user, config.User), trial.Secret), Host: p.listener.Addr().String(), Path: "/" + config.Database}
	query := url.Values{"sslmode": {"disable"}}
	var options []string
	for _, setting := range settings {
		options = append(options, "-c "+setting)
	}
	if len(options) > 0 {
		query.Set("options", strings.Join(options, " "))
	}
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}

// obey puts a rule into force. With nil all messages pass.
func (p *proxy) obey(r rule) {
	if r == nil {
		p.rule.Store(nil)
		return
	}
	p.rule.Store(&r)
}

// count is how many errors of that SQLSTATE the program has been told of.
func (p *proxy) count(code string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.codes[code]
}

// told is closed when the program has been told an error that many times, or the proxy has ended.
func (p *proxy) told(code string, times int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := wait{code, times, make(chan struct{})}
	p.waits = append(p.waits, w)
	return w.told
}

func (p *proxy) note(code string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code]++
	for _, w := range p.waits {
		if w.code == code && w.times == p.codes[code] {
			close(w.told)
		}
	}
}

// cutAll closes every connection.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		conn.Close()
	}
}

func (p *proxy) close() {
	close(p.done)
	p.listener.Close()
	p.cutAll()
	p.all.Wait()
}

func (p *proxy) accept() {
	for {
		program, err := p.listener.Accept()
		if err != nil {
			return
		}
		config := p.upstream.Load()
		network, address := pgconn.NetworkAddress(config.Host, config.Port)
		server, err := net.Dial(network, address)
		if err != nil { // the server is down
			program.Close()
			continue
		}
		s := &session{program: program, server: server}
		p.keep(program, server)
		p.all.Go(func() { p.carry(s, true, program, server) })
		p.all.Go(func() { p.carry(s, false, server, program) })
	}
}

func (p *proxy) keep(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.open[conn] = true
	}
}

// carry carries the messages of one direction until the connection ends.
func (p *proxy) carry(s *session, client bool, from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	first := client // a client's first message has no kind
	for {
		m, raw, err := read(from, first)
		if err != nil {
			return
		}
		first = false
		m.session, m.client = s, client
		switch p.judge(m) {
		case cut:
			return
		case stall:
			s.stalled.Store(true)
		case half:
			to.Write(raw[:len(raw)/2])
			s.stalled.Store(true)
		}
		if s.stalled.Load() {
			<-p.done
			return
		}
		if _, err := to.Write(raw); err != nil {
			return
		}
	}
}

func (p *proxy) judge(m message) fate {
	switch {
	case !m.client && m.kind == 'K':
		m.session.backend.Store(binary.BigEndian.Uint32(m.body))
	case m.asks("begin") && m.session.copied.Load():
		m.session.copied.Store(false)
		m.session.committed.Store(false)
	case m.asks("copy bulksub.records"):
		m.session.copied.Store(true)
	case m.committed():
		m.session.committed.Store(true)
	}
	if code := m.code(); code != "" {
		p.note(code)
	}
	if r := p.rule.Load(); r != nil {
		return (*r)(m)
	}
	return pass
}

func read(from io.Reader, first bool) (m message, raw []byte, err error) {
	head := make([]byte, 5)
	if first {
		head = head[:4]
	}
	if _, err := io.ReadFull(from, head); err != nil {
		return m, nil, err
	}
	length := binary.BigEndian.Uint32(head[len(head)-4:])
	body := make([]byte, length-4)
	if _, err := io.ReadFull(from, body); err != nil {
		return m, nil, err
	}
	if !first {
		m.kind = head[0]
	}
	m.body = body
	return m, append(head, body...), nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
