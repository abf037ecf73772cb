package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/schemas"
	"tallystream/service"
)

// SimulateCommand is `tallystream simulate`.
type SimulateCommand struct {
	electionFlags `group:"election"`
	driveFlags    `group:"pace"`
	Data          string `help:"Data directory of the services." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Prepare       bool   `help:"Only write the election, its rehearsal keys and the services' keys into the data directory, and end."`
	Ingest        string `help:"Where submissions go." default:"http://127.0.0.1:8081"`
	Public        string `help:"Where pages, snapshots and live deltas come from." default:"http://127.0.0.1:8080"`
	MediaKey      string `help:"Key of media: with it viewers get every delta, and measure that. Without one they are the public, who hear once a second." env:"TALLYSTREAM_MEDIA_KEY" placeholder:"KEY"`
}

// Help is the longer text of --help.
func (SimulateCommand) Help() string {
	return `Plays the same night as rehearse, but against services that run elsewhere on this machine. The election, with keys for rehearsals only, must be in
their data directory before they start:

  tallystream simulate --prepare --data data
  (start fanout, ingest, aggregate and publish)
  tallystream simulate --data data --speed max

Exit status: 0 if everything reconciles, 1 if anything does not, 2 for bad flags or input.`
}

// Run prepares or plays.
func (c *SimulateCommand) Run(ctx context.Context, _ *slog.Logger) error {
	d, err := newDrive(ctx, c.electionFlags, c.driveFlags, os.Stdout)
	if err != nil {
		return usageError{err}
	}
	data := service.Data{Dir: c.Data}
	if err := d.writeElection(data, "ingest", "publish"); err != nil {
		return usageError{err}
	}
	if c.Prepare {
		fmt.Fprintf(d.out, "Prepared %s. Start fanout, ingest, aggregate and publish with it.\n", c.Data)
		return nil
	}
	t, err := newRemote(data, c.Ingest, c.Public)
	if err != nil {
		return usageError{err}
	}
	t.mediaKey = c.MediaKey
	report, err := d.play(ctx, t)
	if err != nil {
		return interruption(ctx, err)
	}
	if c.Report != "" {
		if err := report.Write(c.Report); err != nil {
			return err
		}
	}
	report.print(d.out)
	if !report.Reconciled {
		return ErrNotReconciled
	}
	return nil
}

// remote is a pipeline of services, seen through HTTP alone.
type remote struct {
	ingest, public      *url.URL
	receipts, snapshots note.Verifier
	objects             httpObjects
	mediaKey            string // of the viewers; empty: none
}

// newRemote checks addresses and keys. The night goes to this machine only:
// it is no tool to load a stranger's server with.
func newRemote(data service.Data, ingest, public string) (*remote, error) {
	r := new(remote)
	for _, u := range []struct {
		text string
		to   **url.URL
	}{{ingest, &r.ingest}, {public, &r.public}} {
		parsed, err := url.Parse(u.text)
		if err != nil || parsed.Scheme != "http" || !isLoopback(parsed.Hostname()) {
			return nil, fmt.Errorf("%q: want an http:// URL of this machine (127.0.0.0/8, [::1] or localhost)", u.text)
		}
		*u.to = parsed
	}
	for _, k := range []struct {
		service string
		to      *note.Verifier
	}{{"ingest", &r.receipts}, {"publish", &r.snapshots}} {
		_, key, err := data.Signer(k.service)
		if err != nil {
			return nil, err
		}
		if *k.to, err = note.NewVerifier(key); err != nil {
			return nil, fmt.Errorf("verifier key of %s: %w", k.service, err)
		}
	}
	r.objects = httpObjects{base: strings.TrimSuffix(public, "/"), client: &http.Client{Timeout: objectTimeout}}
	return r, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

func (r *remote) IngestAddr() string       { return r.ingest.Host }
func (r *remote) PublicURL() string        { return r.public.String() }
func (r *remote) MediaKey() string         { return r.mediaKey }
func (r *remote) Objects() objects         { return r.objects }
func (r *remote) Receipts() note.Verifier  { return r.receipts }
func (r *remote) Snapshots() note.Verifier { return r.snapshots }

// Progress cannot be seen from outside.
func (r *remote) Progress() (inLedger, behind uint64, ok bool) { return 0, 0, false }

// Holds cannot be told apart from outside.
func (r *remote) Holds(context.Context) (map[schemas.HoldCode]int, error) { return nil, nil }

// exportPatience bounds the wait for the last CSV files.
const exportPatience = 5 * time.Minute

// Finish waits until the newest snapshot names CSV files with all entries.
func (r *remote) Finish(ctx context.Context, entries uint64) error {
	ctx, cancel := context.WithTimeout(ctx, exportPatience)
	defer cancel()
	for {
		err := r.exported(ctx, entries)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the CSV files: %w", err)
		case <-time.After(10 * snapshotPoll):
		}
	}
}

// exported says what is missing: each county's CSV must be as new as its
// document.
func (r *remote) exported(ctx context.Context, entries uint64) error {
	raw, err := r.objects.Get(ctx, schemas.LatestKey)
	if err != nil {
		return err
	}
	s, err := schemas.OpenSnapshot(raw, r.snapshots)
	if err != nil {
		return err
	}
	if s.Entries() < entries {
		return fmt.Errorf("snapshot %d has %d of %d entries", s.Number, s.Entries(), entries)
	}
	raw, err = r.objects.Get(ctx, schemas.ContentKey("manifests", s.Manifest, ".ndjson"))
	if err != nil {
		return err
	}
	manifest, err := schemas.ParseManifest(raw)
	if err != nil {
		return err
	}
	csv := map[string]schemas.Version{}
	for _, m := range manifest {
		if name, ok := strings.CutPrefix(m.Name, "csv/"); ok {
			csv[strings.TrimSuffix(name, ".csv")] = m.Version
		}
	}
	for _, m := range manifest {
		if county, ok := schemas.DocumentID(m.Name).County(); ok && csv[string(county)] < m.Version {
			return fmt.Errorf("the CSV of %s is of version %d, its document of %d", county, csv[string(county)], m.Version)
		}
	}
	return nil
}

// httpObjects reads a bucket over HTTP.
type httpObjects struct {
	base   string
	client *http.Client
}

const (
	objectTimeout = 30 * time.Second
	maxObject     = 512 << 20
)

// Get reads one object.
func (h httpObjects) Get(ctx context.Context, key string) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.base+"/"+key, nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	res, err := h.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading %s: %s", key, res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxObject+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	if len(b) > maxObject {
		return nil, fmt.Errorf("reading %s: more than %d bytes", key, maxObject)
	}
	return b, nil
}
