package iidclient

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// trust makes a client accept the certificate of a test server.
func trust(c *Client, s *httptest.Server) {
	c.transport.(*http.Transport).TLSClientConfig.RootCAs = s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
}

func TestHTTP2IsUsedAndSurvivesGoAway(t *testing.T) {
	proto := ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		proto = r.Proto
		w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		reply(200, `{"results":[{}]}`)(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c := open(t, s.URL, Config{})
	trust(c, s)
	for range 5 {
		if _, err := call(t, c, 1); err != nil || proto != "HTTP/2.0" {
			t.Fatal(proto, err)
		}
	}
}

// TestRefusedStreamIsSentAgainWhole answers the first stream with REFUSED_STREAM
// and the second with success (RFC 9113, section 8.7: not processed, safe to retry).
func TestRefusedStreamIsSentAgainWhole(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate
	t.Cleanup(s.Close)
	config := &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2"}}
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	bodies := make(chan [][]byte, 1)
	go func() { bodies <- refuseOnce(l) }()

	c := open(t, "https://"+l.Addr().String(), Config{})
	trust(c, s)
	codes, err := call(t, c, 3)
	c.Close()
	l.Close()
	sent := <-bodies
	if err != nil || len(codes) != 3 {
		t.Fatalf("got %q, %v", codes, err)
	}
	want := encodeBatch("news", testTokens(3))
	if len(sent) != 2 || !bytes.Equal(sent[0], want) || !bytes.Equal(sent[1], want) {
		t.Errorf("sent %d bodies: %q", len(sent), sent)
	}
}

// Frame types and flags of RFC 9113, section 6.
const (
	frameData, frameHeaders, frameReset, frameSettings = 0, 1, 3, 4

	flagEnd, flagHeadersEnd, flagAck = 1, 4, 1
	refusedStream                    = 7
)

func refuseOnce(l net.Listener) (bodies [][]byte) {
	conn, err := l.Accept()
	if err != nil {
		return nil
	}
	defer conn.Close()
	io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
	writeFrame(conn, frameSettings, 0, 0, nil)
	var body []byte
	for {
		kind, flags, stream, payload, err := readFrame(conn)
		switch {
		case err != nil:
			return bodies
		case kind == frameSettings && flags&flagAck == 0:
			writeFrame(conn, frameSettings, flagAck, 0, nil)
		case kind == frameData:
			body = append(body, payload...)
			if flags&flagEnd == 0 {
				continue
			}
			bodies, body = append(bodies, body), nil
			if len(bodies) == 1 {
				writeFrame(conn, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, refusedStream))
				continue
			}
			writeFrame(conn, frameHeaders, flagHeadersEnd, stream, []byte{0x88}) // :status 200
			writeFrame(conn, frameData, flagEnd, stream, []byte(`{"results":[{},{},{}]}`))
		}
	}
}

func readFrame(r io.Reader) (kind, flags byte, stream uint32, payload []byte, err error) {
	head := make([]byte, 9)
	if _, err = io.ReadFull(r, head); err != nil {
		return
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(r, payload)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload, err
}

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	head := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	w.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
}
