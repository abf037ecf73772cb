package publish

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate/ledger"
	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
	"tallystream/service"
)

// OpeningsCommand is `tallystream openings`.
type OpeningsCommand struct {
	service.Options
	Bucket string `help:"Directory that is published; with --stores aws it is in S3." type:"path" default:"public" env:"TALLYSTREAM_BUCKET"`
	Out    string `help:"File to write, which must not be there yet. It is as secret as the numbers in it." type:"path" required:"" placeholder:"FILE"`
}

// Help is the longer text of --help.
func (OpeningsCommand) Help() string {
	return `Writes what opens the sealed leaves of an election with rules.suppression: for each submission, hold and release of a hidden unit the leaf that was
sealed, and its salt. It reads the ledger and the secret (keys/seal.key, or TALLYSTREAM_SEAL_KEY). With it an auditor counts everything again:

  tallystream openings --data data --out openings.ndjson
  tallystream verify public --unseal openings.ndjson

The file holds every number that is hidden from the public: hand it over in person.`
}

// Run writes the file, whole or not at all.
func (c *OpeningsCommand) Run(ctx context.Context, log *slog.Logger, open OpenStores) (err error) {
	data := service.Data{Dir: c.Data}
	opened, err := data.Open()
	if err != nil {
		return err
	}
	secret, err := OpenSecret(data, opened.Election)
	if err != nil {
		return err
	}
	if secret == nil {
		return errors.New("this election hides no units: there is nothing to open")
	}
	stores, err := open(ctx, c.Options, c.Bucket, opened, prometheus.NewRegistry(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stores.Close()) }()
	n, err := c.write(ctx, opened.Election, secret, stores.Ledger)
	if err == nil {
		log.InfoContext(ctx, "openings written", "leaves", n, "file", c.Out)
	}
	return err
}

func (c *OpeningsCommand) write(ctx context.Context, e *schemas.Election, secret *suppress.Secret, from Ledger) (n int, err error) {
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("writing openings: %w", err)
	}
	view, err := from.View(ctx)
	if err == nil {
		n, err = writeOpenings(ctx, f, e, secret, view)
		err = errors.Join(err, view.Close())
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return n, fmt.Errorf("writing openings: %w", errors.Join(err, os.Remove(c.Out)))
	}
	return n, nil
}

// writeOpenings opens every sealed leaf of the ledger's entries.
func writeOpenings(ctx context.Context, to io.Writer, e *schemas.Election, secret *suppress.Secret, view ledger.View) (n int, err error) {
	w := bufio.NewWriter(to)
	var line []byte
	err = view.Entries(ctx, make([]uint64, e.Definition.Partitions), func(entry schemas.Entry, record []byte) error {
		if !suppress.Hides(e, &entry) {
			return nil
		}
		own, err := leaf.OfEntry(&entry, record)
		if err != nil {
			return err
		}
		if line, err = secret.AppendOpening(line[:0], e.Definition.Origin, &entry, own); err != nil {
			return err
		}
		n++
		_, err = w.Write(line)
		return err
	})
	return n, errors.Join(err, w.Flush())
}
