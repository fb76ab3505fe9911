package faults

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// host is the name under which the program looks for the service.
const host = "service.test"

// resolver is the name server of one program (RFC 1035): it has one address for every name.
type resolver struct {
	conn    net.PacketConn
	asked   atomic.Int64
	address atomic.Pointer[net.IP] // nil: it does not answer
	slow    atomic.Int64           // nanoseconds before an answer
	all     sync.WaitGroup
}

// newResolver makes it the name server of the program, which then sees an /etc/resolv.conf of its own.
func newResolver(t testing.TB, s *fileScene) *resolver {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	r := &resolver{}
	for n := 0; r.conn == nil; n++ {
		conn, err := net.ListenPacket("udp", fmt.Sprintf("127.46.%d.53:53", n))
		switch {
		case err == nil:
			r.conn = conn
			must(t, os.WriteFile(file, fmt.Appendf(nil, "nameserver 127.46.%d.53\n", n), 0o600))
		case n == 255:
			cannot(t, "only root can serve names: %v", err)
		}
	}
	r.all.Go(r.serve)
	t.Cleanup(func() {
		r.conn.Close()
		r.all.Wait()
	})
	s.Under = []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file}
	if out, err := exec.Command(s.Under[0], append(s.Under[1:], "true")...).CombinedOutput(); err != nil {
		cannot(t, "nothing can be mounted for a program here: %v: %s", err, out)
	}
	s.Env = append(s.Env, "GODEBUG=netdns=go", "NO_PROXY=*") // as the released program, which is static
	return r
}

// cannot skips a test for what the machine does not allow, but not where it would pass for checked.
func cannot(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func (r *resolver) serve() {
	for {
		question := make([]byte, 512)
		n, from, err := r.conn.ReadFrom(question)
		if err != nil {
			return
		}
		r.asked.Add(1)
		address := r.address.Load()
		if address == nil {
			continue
		}
		reply := answer(question[:n], *address)
		time.AfterFunc(time.Duration(r.slow.Load()), func() { r.conn.WriteTo(reply, from) })
	}
}

// answer is the address, of IPv4, to a question for one, and no address to others. It may be kept for a minute.
func answer(question []byte, address net.IP) []byte {
	end := 12 // of the header; the name follows, label by label, with what is asked about it
	for question[end] != 0 {
		end += 1 + int(question[end])
	}
	end += 5
	reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question[12:end]...)
	if binary.BigEndian.Uint16(question[end-4:]) == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
		reply = append(reply, address.To4()...)
	}
	return reply
}

// moveTo gives the name another address.
func (r *resolver) moveTo(address net.Addr) { r.address.Store(&address.(*net.TCPAddr).IP) }

// relay is an address of the service.
type relay struct {
	net.Listener
	to    string
	conns atomic.Int64
	all   sync.WaitGroup

	mu   sync.Mutex
	open []net.Conn // nil once it is closed
}

// newRelay leads to the stand-in from an address.
func newRelay(t testing.TB, s framed, address string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	must(t, err)
	r := &relay{Listener: listener, to: s.standIn(), open: make([]net.Conn, 0)}
	r.all.Go(r.accept)
	t.Cleanup(r.end)
	return r
}

func (r *relay) accept() {
	for {
		program, err := r.Accept()
		if err != nil {
			return
		}
		service, err := net.Dial("tcp", r.to)
		if err != nil || !r.keep(program, service) {
			program.Close()
			continue
		}
		r.conns.Add(1)
		for from, to := range map[net.Conn]net.Conn{program: service, service: program} {
			r.all.Go(func() {
				io.Copy(to, from)
				to.Close()
			})
		}
	}
}

// keep reports whether the connections may be used.
func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		return false
	}
	r.open = append(r.open, conns...)
	return true
}

// end is that of the address: nobody listens there any more, and its connections are cut.
func (r *relay) end() {
	r.Close()
	r.mu.Lock()
	for _, conn := range r.open {
		conn.Close()
	}
	r.open = nil
	r.mu.Unlock()
	r.all.Wait()
}

// F46: the service moves to another address in the middle of a job, and nobody is left at the old one. The job goes on
// at the new one.
func TestNewAddress(t *testing.T) {
	byEachAPI(t, func(t *testing.T, s framed) {
		names := newResolver(t, s.fileScene)
		before := newRelay(t, s, "127.46.0.1:0")
		_, port, _ := net.SplitHostPort(before.Addr().String())
		after := newRelay(t, s, "127.46.0.2:"+port)
		names.moveTo(before.Addr())
		s.Service.URL = "http://" + net.JoinHostPort(host, port)
		var calls atomic.Int64
		s.Each(func() {
			if calls.Add(1) == 20 {
				names.moveTo(after.Addr())
				go before.end()
			}
		})
		s.finish("--allow-http", "--patience", "30s")
		reached(t, "connections to the old address", before.conns.Load(), 1)
		reached(t, "connections to the new address", after.conns.Load(), 1)
	})
}

// F46: the name server does not answer. The job says which name it looked for, and has no result; when there are answers again,
// slow ones, it is done.
func TestSilentNameServer(t *testing.T) {
	byEachAPI(t, func(t *testing.T, s framed) {
		names := newResolver(t, s.fileScene)
		there := newRelay(t, s, "127.46.0.1:0")
		_, port, _ := net.SplitHostPort(there.Addr().String())
		s.Service.URL = "http://" + net.JoinHostPort(host, port)
		code, last := s.Run(s.args("--allow-http", "--timeout", "1s", "--patience", "2s")...)
		if code != 69 || last.Rows != 0 || !strings.Contains(last.Words, host) {
			t.Errorf("ended with %d and %d rows: %s", code, last.Rows, last.Words)
		}
		reached(t, "questions were not answered", names.asked.Load(), 1)
		names.slow.Store(int64(1500 * time.Millisecond))
		names.moveTo(there.Addr())
		s.finish("--allow-http")
		reached(t, "connections", there.conns.Load(), 1)
	})
}
