package fanout

import (
	"errors"

	"github.com/coder/websocket"

	"tallystream/fanout/wire"
)

// ending is why a connection ended.
type ending struct {
	code   websocket.StatusCode
	reason string // for the viewer and, as a label, for the metrics
}

var (
	endBye       = ending{websocket.StatusServiceRestart, "bye"}
	endRevoked   = ending{CloseKeyRevoked, "key revoked"}
	endSlow      = ending{CloseTooSlow, "too slow"}
	endBroken    = ending{websocket.StatusAbnormalClosure, "broken"} // no way to tell the viewer
	endIdle      = ending{CloseIdle, "idle"}
	endGone      = ending{websocket.StatusNormalClosure, "gone"} // the viewer went
	endBadFrame  = ending{CloseBadFrame, "bad frame"}
	endTooFast   = ending{CloseTooFast, "too fast"}
	endDocuments = ending{CloseTooManyDocuments, "too many documents"}
	endNotMedia  = ending{CloseNotAllowed, "not allowed"}
	endBinary    = ending{websocket.StatusUnsupportedData, "text frames only"}
	endNotUTF8   = ending{websocket.StatusInvalidFramePayloadData, "not UTF-8"}
	endTooBig    = ending{websocket.StatusMessageTooBig, "too big"}
	endProtocol  = ending{websocket.StatusProtocolError, "bad websocket"}
)

// endingOf is how a refused subscription ends a connection.
func endingOf(err error) ending {
	switch {
	case errors.Is(err, ErrTooManyDocuments):
		return endDocuments
	case errors.Is(err, ErrNotMedia):
		return endNotMedia
	}
	return endBadFrame
}

// endingOfSession is how a connection ends whose session has.
func endingOfSession(err error) ending {
	if errors.Is(err, ErrRevoked) {
		return endRevoked
	}
	return endBye
}

// endingOfBytes is how bytes that are not as they should be end a connection.
func endingOfBytes(err error) ending {
	var v *wire.Violation
	switch {
	case errors.Is(err, wire.ErrTooFast):
		return endTooFast
	case errors.As(err, &v) && v.Code == wire.StatusTooBig, errors.Is(err, websocket.ErrMessageTooBig):
		return endTooBig
	}
	return endProtocol
}
