// Package refusing is an HTTP/2 server, for tests, that refuses a stream as one does that has
// too much to do (RFC 9113, section 8.7): which net/http's server never does by request.
package refusing

import (
	"encoding/binary"
	"io"
	"net"
)

// Frame types and flags of RFC 9113, section 6.
const (
	frameData, frameHeaders, frameReset, frameSettings = 0, 1, 3, 4

	flagEnd, flagHeadersEnd, flagAck = 1, 4, 1
	refusedStream                    = 7
)

// Once serves one connection of l, until it is closed: its first stream is refused, the
// others are answered with status 200 and the reply. It returns the bodies that came.
func Once(l net.Listener, reply string) (bodies [][]byte) {
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
			writeFrame(conn, frameData, flagEnd, stream, []byte(reply))
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
