// Package fanout brings deltas to viewers: over WebSocket at /v1/live and as
// Server-Sent Events at /v1/events.
//
// Invariant: a viewer that follows the client rule holds, at each version it
// reports, exactly the document's bytes at that version, and a viewer that is
// slow, gone for a while or hostile costs the server a bounded amount and
// the others nothing. The server keeps no queue for anybody: a connection
// is a position in each document it follows, and what leads from there to the
// newest version is looked up when the connection can take it.
//
// Trail (one document), Session (one viewer) and Hub (all of them) know no
// network and no clock. Server admits connections and moves frames; what
// moves them is behind the small interface in engine.go.
package fanout
