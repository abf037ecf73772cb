package simulator

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"tallystream/schemas"
)

// sender posts submissions over one keep-alive connection. It is a lean
// HTTP/1.1 client written for load: net/http's costs 68 us a request, which
// would be a tenth of the whole night. Officials use ingest/client.
type sender struct {
	addr string
	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: TCP
	conn net.Conn
	br   *bufio.Reader
	out  []byte
	in   []byte
}

// answer is a response; body is valid until the next post.
type answer struct {
	status     int
	retryAfter time.Duration
	body       []byte
}

const (
	dialTimeout = 5 * time.Second
	sendTimeout = 30 * time.Second
	maxAnswer   = 64 << 10
)

// What requests begin with.
const (
	submissionHead = "POST /v1/submissions HTTP/1.1\r\nHost: tallystream\r\nContent-Type: application/vnd.tallystream.submission\r\nContent-Length: "
	releaseHead    = "POST /v1/releases HTTP/1.1\r\nHost: tallystream\r\nContent-Type: application/vnd.tallystream.release\r\nContent-Length: "
)

// post sends one envelope or release and reads the answer. After an error the connection
// is gone and the outcome unknown; sending again is harmless.
func (s *sender) post(ctx context.Context, envelope []byte) (answer, error) {
	if s.conn == nil {
		if s.dial == nil {
			s.dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
		}
		c, err := s.dial(ctx, "tcp", s.addr)
		if err != nil {
			return answer{}, fmt.Errorf("connecting to ingest: %w", err)
		}
		s.conn, s.br = c, bufio.NewReaderSize(c, 4096)
	}
	head := submissionHead
	if schemas.IsRelease(envelope) {
		head = releaseHead
	}
	s.out = append(s.out[:0], head...)
	s.out = strconv.AppendInt(s.out, int64(len(envelope)), 10)
	s.out = append(s.out, "\r\n\r\n"...)
	s.out = append(s.out, envelope...)
	a, err := s.exchange()
	if err != nil {
		s.close()
		return answer{}, fmt.Errorf("sending to ingest: %w", err)
	}
	return a, nil
}

func (s *sender) exchange() (answer, error) {
	if err := s.conn.SetDeadline(time.Now().Add(sendTimeout)); err != nil {
		return answer{}, err
	}
	if _, err := s.conn.Write(s.out); err != nil {
		return answer{}, err
	}
	var a answer
	line, err := s.br.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return answer{}, errors.New("not an HTTP/1.1 answer")
	}
	if a.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return answer{}, errors.New("not an HTTP status")
	}
	length, closing, err := s.headers(&a)
	if err != nil {
		return answer{}, err
	}
	if length > maxAnswer {
		return answer{}, fmt.Errorf("an answer of %d bytes", length)
	}
	if cap(s.in) < length {
		s.in = make([]byte, length)
	}
	a.body = s.in[:length]
	if _, err := io.ReadFull(s.br, a.body); err != nil {
		return answer{}, err
	}
	if closing {
		s.close()
	}
	return a, nil
}

// headers reads up to the empty line.
func (s *sender) headers(a *answer) (length int, closing bool, err error) {
	for {
		line, err := s.br.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, closing, nil
		}
		switch {
		case headerIs(line, "Content-Length: "):
			if length, err = strconv.Atoi(string(line[16:])); err != nil || length < 0 {
				return 0, false, errors.New("a bad Content-Length")
			}
		case headerIs(line, "Retry-After: "):
			if n, err := strconv.Atoi(string(line[13:])); err == nil {
				a.retryAfter = time.Duration(n) * time.Second
			}
		case headerIs(line, "Connection: close"):
			closing = true
		}
	}
}

func headerIs(line []byte, name string) bool {
	return len(line) >= len(name) && bytes.EqualFold(line[:len(name)], []byte(name))
}

func (s *sender) close() {
	if s.conn != nil {
		// The answer is read or lost; an error of closing changes nothing.
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Retries of one submission: full jitter between nothing and a doubling bound.
const (
	firstBackoff = 20 * time.Millisecond
	mostBackoff  = 2 * time.Second
)

// deliver posts until ingest gives a final answer: a receipt or a refusal. It
// sends again after lost connections, 429 and 503, as an official's client
// does, and gives up only with ctx.
func (s *sender) deliver(ctx context.Context, envelope []byte, retries *uint64) (answer, error) {
	bound := firstBackoff
	for {
		a, err := s.post(ctx, envelope)
		if err == nil && a.status != 429 && a.status != 503 {
			return a, nil
		}
		*retries++
		wait := rand.N(bound)
		if a.retryAfter > 0 {
			wait = min(a.retryAfter, mostBackoff)/2 + rand.N(min(a.retryAfter, mostBackoff)/2+1)
		}
		bound = min(2*bound, mostBackoff)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			if err == nil {
				err = fmt.Errorf("ingest answers %d", a.status)
			}
			return answer{}, errors.Join(ctx.Err(), err)
		}
	}
}
