// Package wire is the bytes of WebSocket connections, RFC 6455 and RFC 7692,
// as far as a server needs them that shares frames among its viewers and
// reads many connections with one reader.
//
// Invariant: values in, values out: no connection, no clock. What a Message
// passes on is whole (the frames of one message, or one control frame), within
// the Rules, and costs no more memory than its Rules allow. Unmasking,
// inflating and the order of frames are judged by coder/websocket, which
// reads what is passed on.
package wire
