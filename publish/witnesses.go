package publish

import (
	"context"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/publish/log"
	"tallystream/publish/log/witness"
)

const (
	// witnessPatience bounds how long a checkpoint waits for its witnesses.
	witnessPatience = time.Second
	// witnessRest is how long one that failed is left alone, so that a dead one
	// does not slow every snapshot down.
	witnessRest = 30 * time.Second
)

// witnesses asks for cosignatures. The goroutine that writes snapshots owns it.
type witnesses struct {
	clients []*witness.Client
	rest    []time.Time // not to be asked before
}

// cosign adds the cosignatures that come in time. Without any the checkpoint is
// as good for the log, and a reader's policy says whether for the reader.
func (s *Sequencer) cosign(ctx context.Context, tree *log.Reader, checkpoint []byte) []byte {
	w := &s.witnesses
	ctx, cancel := context.WithTimeout(ctx, witnessPatience)
	defer cancel()
	lines, errs := make([][]byte, len(w.clients)), make([]error, len(w.clients))
	var asked sync.WaitGroup
	for i, c := range w.clients {
		if s.cfg.Now().Before(w.rest[i]) {
			continue
		}
		asked.Go(func() { lines[i], errs[i] = c.Cosign(ctx, tree, checkpoint) })
	}
	asked.Wait()
	for i, c := range w.clients {
		if errs[i] != nil {
			w.rest[i] = s.cfg.Now().Add(witnessRest)
			s.cfg.Metrics.cosignatures.WithLabelValues(c.Key.Name(), "failed").Inc()
			s.cfg.Logger.WarnContext(ctx, "a witness did not cosign", "witness", c.Key.Name(), "size", tree.Tree().N, "err", errs[i])
		}
		if lines[i] == nil {
			continue
		}
		with, _, err := log.AddSignatures(checkpoint, lines[i], note.Verifier(c.Key))
		if err != nil {
			s.cfg.Logger.WarnContext(ctx, "a cosignature does not fit the checkpoint", "witness", c.Key.Name(), "err", err)
			continue
		}
		checkpoint = with
		s.cfg.Metrics.cosignatures.WithLabelValues(c.Key.Name(), "came").Inc()
	}
	return checkpoint
}
