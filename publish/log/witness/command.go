package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/sync/errgroup"

	"tallystream/publish/log"
	"tallystream/schemas"
	"tallystream/service"
)

// Command is `tallystream witness`.
type Command struct {
	Source string        `arg:"" optional:"" help:"URL or directory of a published log to follow."`
	Key    string        `help:"File with the witness's private key, which must sign nothing else." type:"existingfile" required:"" env:"TALLYSTREAM_WITNESS_KEY"`
	Log    []string      `help:"Verifier key of a log to witness, named as its origin; may be repeated." required:"" sep:"none" placeholder:"NAME+HASH+KEY"`
	State  string        `help:"Directory that remembers what was seen. Never share it, never restore an old copy." type:"path" default:"witness"`
	Every  time.Duration `help:"How often to look at the source." default:"10s"`
	Once   bool          `help:"Look once, and fail if the log cannot be cosigned."`
	Out    string        `help:"File for the newest cosigned checkpoint; without it they go to standard output." type:"path"`
	Serve  string        `help:"Address to take checkpoints at (POST /add-checkpoint) and to show the newest." placeholder:"HOST:PORT"`

	stdout io.Writer // os.Stdout unless a test sets it
}

// Validate is asked by kong.
func (c *Command) Validate() error {
	if c.Source == "" && c.Serve == "" {
		return errors.New("want a source to follow, or --serve")
	}
	if c.Once && (c.Source == "" || c.Serve != "") {
		return errors.New("--once needs a source and does not serve")
	}
	if c.Every < time.Second {
		return errors.New("--every: want a second or more")
	}
	return nil
}

// Run witnesses until ctx ends.
func (c *Command) Run(ctx context.Context, logger *slog.Logger) (err error) {
	signer, err := openKey(c.Key)
	if err != nil {
		return err
	}
	cfg := Config{Signer: signer, Logger: logger}
	for _, s := range c.Log {
		key, err := log.ParseLogKey(s)
		if err != nil {
			return fmt.Errorf("--log: %w", err)
		}
		cfg.Logs = append(cfg.Logs, note.Verifier(key))
	}
	state, err := OpenDirectory(c.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	cfg.State = state
	w := New(cfg)
	logger.InfoContext(ctx, "witness", "key", signer.VerifierKey())
	g, ctx := errgroup.WithContext(ctx)
	if c.Serve != "" {
		l, err := net.Listen("tcp", c.Serve)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		logger.InfoContext(ctx, "witness serves", "addr", l.Addr().String())
		g.Go(func() error { return service.Serve(ctx, l, w.Handler()) })
	}
	if c.Source != "" {
		tiles, err := log.Open(c.Source)
		if err != nil {
			return err
		}
		g.Go(func() error { return c.follow(ctx, w, tiles, logger) })
	}
	return g.Wait()
}

func openKey(path string) (*log.Cosigner, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the witness's key: %w", err)
	}
	signer, verifier, err := schemas.OpenPrivateKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("reading the witness's key from %s: %w", path, err)
	}
	return log.NewCosigner(signer, verifier, time.Now)
}

// follow looks at the source each interval. A log that cannot be reached or
// that broke its promise is looked at again: the witness's word on what it saw
// stays, and the error is in the log each time.
func (c *Command) follow(ctx context.Context, w *Witness, tiles log.Tiles, logger *slog.Logger) error {
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	var out []byte // what was handed on last
	for {
		b, err := w.Look(ctx, tiles)
		if err == nil && !bytes.Equal(b, out) {
			if err = c.put(b); err == nil {
				out = b
			}
		}
		if c.Once {
			return err
		}
		if err != nil && ctx.Err() == nil {
			logger.ErrorContext(ctx, "not cosigned", "source", c.Source, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// put hands the cosigned checkpoint on.
func (c *Command) put(b []byte) error {
	if c.Out != "" {
		if err := replaceFile(c.Out, b, 0o644); err != nil {
			return fmt.Errorf("writing the cosigned checkpoint: %w", err)
		}
		return nil
	}
	out := c.stdout
	if out == nil {
		out = os.Stdout
	}
	if _, err := out.Write(b); err != nil {
		return fmt.Errorf("writing the cosigned checkpoint: %w", err)
	}
	return nil
}
