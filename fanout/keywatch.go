package fanout

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"
)

// Intervals of what is done for media keys.
const (
	refillEvery = 100 * time.Millisecond
	// revokeGrace is how long a connection whose key was taken back has to take
	// its good-bye. With the default MediaKeysEvery it is closed 3 s after the
	// operator's word, at the latest.
	revokeGrace = time.Second
)

// readMediaKeys makes the keys of the configuration valid, and those only.
func (s *Server) readMediaKeys() error {
	var keys []MediaKey
	for i, secret := range s.cfg.MediaKeys {
		// The configuration gives them no names.
		keys = append(keys, MediaKey{Name: fmt.Sprintf("configured-%d", i+1), Hash: sha256.Sum256([]byte(secret))})
	}
	if s.cfg.ReadMediaKeys != nil {
		more, err := s.cfg.ReadMediaKeys()
		if err != nil {
			return err
		}
		keys = slices.Concat(keys, more)
	}
	for _, a := range s.keys.set(keys) {
		s.revoke(a)
	}
	return nil
}

// revoke closes the connections of a key that is not valid any more: those
// that take frames are told why, the others are cut off.
func (s *Server) revoke(a *account) {
	lines := a.revoke()
	s.log.Info("media key revoked", "key", a.name, "connections", len(lines))
	for session, cut := range lines {
		session.revoke()
		time.AfterFunc(revokeGrace, cut)
	}
}

// watchMediaKeys reads the keys again and again until ctx ends. Keys that
// cannot be read stay as they were: a slip of the operator's hand must not
// close the night's media.
func (s *Server) watchMediaKeys(ctx context.Context) {
	tick := time.NewTicker(s.cfg.MediaKeysEvery)
	defer tick.Stop()
	for failed := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := s.readMediaKeys()
		if err != nil {
			s.metrics.keys.unreadable.Inc()
			if !failed {
				s.log.Error("media keys cannot be read again, those from before stay valid", "err", err)
			}
		}
		failed = err != nil
	}
}

// refillAccounts gives keys with a limit of bytes a second their share.
func (s *Server) refillAccounts(ctx context.Context) {
	tick, last := time.NewTicker(refillEvery), s.now()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := s.now()
			s.keys.refill(now.Sub(last))
			last = now
		}
	}
}
