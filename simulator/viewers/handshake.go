package viewers

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxHandshake bounds the head of a server's answer.
const maxHandshake = 8 << 10

// handshakeKey is a connection's Sec-WebSocket-Key, RFC 6455 section 4.1. It
// follows from what is known anyway, so that nothing is kept to check the
// answer with.
func handshakeKey(seed uint64, seat, generation uint32) string {
	var nonce [16]byte
	binary.BigEndian.PutUint64(nonce[:], seed)
	binary.BigEndian.PutUint32(nonce[8:], seat)
	binary.BigEndian.PutUint32(nonce[12:], generation)
	return base64.StdEncoding.EncodeToString(nonce[:])
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// deflateOffer asks for compression without a context, RFC 7692 section 7.1.1:
// the only form in which a server can compress once for all.
const deflateOffer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// appendRequest appends the request that opens a WebSocket.
func appendRequest(dst []byte, host, path, key, token string, deflate bool) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	dst = append(dst, key...)
	if deflate {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "+deflateOffer...)
	}
	if token != "" {
		dst = append(dst, "\r\nAuthorization: Bearer "...)
		dst = append(dst, token...)
	}
	return append(dst, "\r\nUser-Agent: tallystream-viewers\r\n\r\n"...)
}

// refused is an answer that opens no WebSocket.
type refused struct {
	status     int
	retryAfter time.Duration // 0: not said
}

func (r *refused) Error() string {
	return fmt.Sprintf("%d %s", r.status, strings.ToLower(http.StatusText(r.status)))
}

// readAnswer reads the server's answer to appendRequest from the beginning of
// b. n is where frames begin; 0 without an error: the answer is not whole yet.
func readAnswer(b []byte, key string, offered bool) (n int, deflate bool, err error) {
	end := bytes.Index(b[:min(len(b), maxHandshake)], []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= maxHandshake {
			return 0, false, wireError("answer above %d bytes", maxHandshake)
		}
		return 0, false, nil
	}
	lines := strings.Split(string(b[:end]), "\r\n")
	status, err := statusOf(lines[0])
	if err != nil {
		return 0, false, err
	}
	var upgrade, connection, accept, extensions, protocol, retry string
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return 0, false, wireError("answer has a line without a name")
		}
		value = strings.Trim(value, " \t")
		switch strings.ToLower(name) {
		case "upgrade":
			upgrade = value
		case "connection":
			connection = value
		case "sec-websocket-accept":
			accept = value
		case "sec-websocket-extensions":
			if extensions != "" {
				return 0, false, wireError("more than one extension")
			}
			extensions = value
		case "sec-websocket-protocol":
			protocol = value
		case "retry-after":
			retry = value
		}
	}
	switch {
	case status != http.StatusSwitchingProtocols:
		return 0, false, &refused{status, secondsOf(retry)}
	case !strings.EqualFold(upgrade, "websocket") || !hasToken(connection, "upgrade"):
		return 0, false, wireError("answer does not upgrade")
	case accept != acceptOf(key):
		return 0, false, wireError("answer is not to our key")
	case protocol != "":
		return 0, false, wireError("answer chooses a subprotocol that was not offered")
	}
	if extensions != "" {
		if err := checkExtension(extensions, offered); err != nil {
			return 0, false, err
		}
	}
	return end + 4, extensions != "", nil
}

func statusOf(line string) (int, error) {
	rest, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(rest) < 3 || len(rest) > 3 && rest[3] != ' ' {
		return 0, wireError("answer is not HTTP/1.1")
	}
	n, err := strconv.ParseUint(rest[:3], 10, 16)
	if err != nil || n < 100 {
		return 0, wireError("answer has no status")
	}
	return int(n), nil
}

// maxRetryAfter keeps a server from sending viewers home for the night.
const maxRetryAfter = 5 * time.Minute

func secondsOf(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0 // not said, or a date
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}

func hasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

// checkExtension takes an answer to deflateOffer. Without
// server_no_context_takeover each connection would need a window of its own.
func checkExtension(value string, offered bool) error {
	name, parameters, _ := strings.Cut(value, ";")
	if !offered || !strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
		return wireError("answer has an extension that was not offered")
	}
	noContext := false
	for p := range strings.SplitSeq(parameters, ";") {
		switch p = strings.ToLower(strings.TrimSpace(p)); p {
		case "server_no_context_takeover":
			noContext = true
		case "client_no_context_takeover", "":
		default:
			return wireError("answer has the parameter %.40q, which was not offered", p)
		}
	}
	if !noContext {
		return wireError("answer keeps a context between messages")
	}
	return nil
}
