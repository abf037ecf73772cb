package viewers

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const testKey = "dGhlIHNhbXBsZSBub25jZQ=="

// rfcAnswer is the example of RFC 6455 section 1.3.
const rfcAnswer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

func TestTheAnswerOfTheStandardIsTaken(t *testing.T) {
	b := []byte(rfcAnswer + "\r\nframes")
	n, deflate, err := readAnswer(b, testKey, true)
	if err != nil || deflate || string(b[n:]) != "frames" {
		t.Fatalf("%d %v %v", n, deflate, err)
	}
	for k := range n {
		if got, _, err := readAnswer(b[:k], testKey, true); got != 0 || err != nil {
			t.Fatalf("%d of %d bytes: %d, %v", k, n, got, err)
		}
	}
}

func TestAnswersThatOpenNothing(t *testing.T) {
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	for name, c := range map[string]struct {
		answer  string
		offered bool
	}{
		"another key":              {strings.Replace(rfcAnswer, "s3pP", "s3pQ", 1), false},
		"no upgrade":               {strings.Replace(rfcAnswer, "Upgrade: websocket\r\n", "", 1), false},
		"no connection":            {strings.Replace(rfcAnswer, "Connection: Upgrade", "Connection: close", 1), false},
		"another protocol":         {"SSH-2.0-x\r\n", false},
		"HTTP/1.0":                 {strings.Replace(rfcAnswer, "HTTP/1.1", "HTTP/1.0", 1), false},
		"no status":                {strings.Replace(rfcAnswer, "101", "abc", 1), false},
		"a subprotocol":            {rfcAnswer + "Sec-WebSocket-Protocol: x\r\n", false},
		"deflate without an offer": {rfcAnswer + deflate + "; server_no_context_takeover\r\n", false},
		"deflate with a context":   {rfcAnswer + deflate + "\r\n", true},
		"an unknown parameter":     {rfcAnswer + deflate + "; server_no_context_takeover; server_max_window_bits=10\r\n", true},
		"another extension":        {rfcAnswer + "Sec-WebSocket-Extensions: x\r\n", true},
		"two extensions":           {rfcAnswer + deflate + "; server_no_context_takeover\r\n" + deflate + "; server_no_context_takeover\r\n", true},
		"a line without a name":    {rfcAnswer + "x\r\n", false},
		"too long":                 {rfcAnswer + "X: " + strings.Repeat("x", maxHandshake), false},
	} {
		if n, _, err := readAnswer([]byte(c.answer+"\r\n"), testKey, c.offered); err == nil || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if _, z, err := readAnswer([]byte(rfcAnswer+deflate+"; server_no_context_takeover; client_no_context_takeover\r\n\r\n"), testKey, true); err != nil || !z {
		t.Errorf("deflate without a context: %v, %v", z, err)
	}
}

func TestARefusalSaysWhyAndWhen(t *testing.T) {
	for after, want := range map[string]time.Duration{"10": 10 * time.Second, "999999999": maxRetryAfter, "-1": 0, "Fri, 31 Dec 1999 23:59:59 GMT": 0, "": 0} {
		_, _, err := readAnswer([]byte("HTTP/1.1 429 Too Many Requests\r\nRetry-After: "+after+"\r\n\r\n"), testKey, false)
		var no *refused
		if !errors.As(err, &no) || no.status != 429 || no.retryAfter != want || no.Error() != "429 too many requests" {
			t.Errorf("%q: %v", after, err)
		}
	}
}

func TestKeysDifferFromConnectionToConnection(t *testing.T) {
	seen := map[string]bool{}
	for seat := range uint32(20) {
		for generation := range uint32(20) {
			seen[handshakeKey(1, seat, generation)] = true
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d keys of 400", len(seen))
	}
}

func TestAKeyOfMediaTravelsInAHeaderOnly(t *testing.T) {
	r := string(appendRequest(nil, "live.example.org", "/v1/live?g=%2A", testKey, "secret", true))
	if !strings.Contains(r, "\r\nAuthorization: Bearer secret\r\n") || strings.Count(r, "secret") != 1 || !strings.Contains(r, deflateOffer) {
		t.Errorf("%q", r)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(rfcAnswer+"\r\n"), false)
	f.Add([]byte("HTTP/1.1 503 x\r\nRetry-After: 3\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, b []byte, offered bool) {
		n, deflate, err := readAnswer(b, testKey, offered)
		if n < 0 || n > len(b) || n > maxHandshake || err != nil && n != 0 || deflate && !offered {
			t.Fatalf("%d of %d, deflate %v, %v", n, len(b), deflate, err)
		}
	})
}
