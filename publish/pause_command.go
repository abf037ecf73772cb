package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/register"
)

// Services is `tallystream publish`: the service itself, and what an operator
// says to whoever runs it.
type Services struct {
	Service Command       `cmd:"" name:"run" default:"withargs" help:"Publish signed snapshots, pages and deltas."`
	Pause   PauseCommand  `cmd:"" help:"Let no number move until resume, and say why in public."`
	Resume  ResumeCommand `cmd:"" help:"Let the numbers move again after a pause, and say why in public."`
}

// Access is where an election's register is.
type Access struct {
	Data   string        `help:"Private directory with definition.json and roster.json; embedded, also with the register." type:"path" default:"data" env:"TALLYSTREAM_DATA"`
	Stores string        `help:"Where the register is: embedded (control.db of this machine) or aws." enum:"embedded,aws" default:"embedded" env:"TALLYSTREAM_STORES"`
	Cloud  cloud.Options `embed:""`
}

// OpenRegister opens the register alone; main.go binds it to publish/stores.
type OpenRegister func(ctx context.Context, o service.Options, opened *service.Opened, registry prometheus.Registerer, log *slog.Logger) (r Register, close func() error, err error)

// open reads the election and opens its register.
func (a *Access) open(ctx context.Context, open OpenRegister, log *slog.Logger) (*service.Opened, Register, func() error, error) {
	opened, err := service.Data{Dir: a.Data}.Open()
	if err != nil {
		return nil, nil, nil, err
	}
	r, close, err := open(ctx, service.Options{Data: a.Data, Stores: a.Stores, Cloud: a.Cloud}, opened, prometheus.NewRegistry(), log)
	return opened, r, close, err
}

// pauseFlags are those of both commands.
type pauseFlags struct {
	Access `embed:""`
	Reason string        `help:"Identifier of the reason, such as court-order or correction-under-way." required:"" placeholder:"IDENTIFIER"`
	Text   string        `help:"One sentence for the public, which stands in the log for good and on every page." required:"" placeholder:"SENTENCE"`
	Wait   time.Duration `help:"How long to wait until it is published; 0 leaves that to whoever publishes." default:"60s"`
}

// PauseCommand is `tallystream publish pause`.
type PauseCommand struct{ pauseFlags }

// ResumeCommand is `tallystream publish resume`.
type ResumeCommand struct{ pauseFlags }

// Run asks for a pause, and waits until the public knows.
func (c *PauseCommand) Run(ctx context.Context, log *slog.Logger, open OpenRegister) error {
	return c.run(ctx, log, open, true, os.Stdout)
}

// Run asks for the end of a pause, and waits until the public knows.
func (c *ResumeCommand) Run(ctx context.Context, log *slog.Logger, open OpenRegister) error {
	return c.run(ctx, log, open, false, os.Stdout)
}

func (f *pauseFlags) run(ctx context.Context, log *slog.Logger, open OpenRegister, pause bool, stdout io.Writer) (err error) {
	opened, r, closeRegister, err := f.open(ctx, open, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeRegister()) }()
	q := &PauseRequest{Register: r, Origin: opened.Election.Definition.Origin, Pause: pause, Reason: f.Reason, Text: f.Text}
	if err := q.Send(ctx); err != nil {
		return err
	}
	if f.Wait <= 0 {
		_, err = fmt.Fprintln(stdout, "asked for; whoever publishes sees it within a second or two")
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, f.Wait)
	defer cancel()
	note, err := q.Await(waiting, sleep)
	if err != nil {
		return err
	}
	_, err = stdout.Write(note)
	return err
}

// What somebody who asks for a pause decides on.
var (
	// ErrPauseState: publication is paused already, or is not.
	ErrPauseState = errors.New("publication is in that state already")
	// ErrPauseOvertaken: another statement came before the one that was asked for.
	ErrPauseOvertaken = errors.New("another statement was published meanwhile")
)

// PauseRequest asks whoever publishes for a pause, or for its end.
type PauseRequest struct {
	Register     Register
	Origin       string
	Pause        bool
	Reason, Text string

	wish *wish // as it was sent
}

// Send leaves the request in the register.
func (q *PauseRequest) Send(ctx context.Context) error {
	w := &wish{pause: q.Pause, reason: q.Reason, text: q.Text}
	if err := w.check(); err != nil {
		return err
	}
	said, err := q.said(ctx)
	if err != nil {
		return err
	}
	if paused := said != nil && !said.Resumed; paused == q.Pause {
		if said == nil {
			return fmt.Errorf("%w: it was never paused", ErrPauseState)
		}
		return fmt.Errorf("%w since %s: %s: %s", ErrPauseState, said.Time, said.Reason, said.Text)
	}
	if said != nil {
		w.after = ofPause(said.Note)
	}
	for {
		before, err := q.Register.Load(ctx, wishName)
		if err != nil {
			return fmt.Errorf("asking for it: %w", err)
		}
		b := w.encode(q.Origin)
		if string(before) != string(b) {
			err = q.Register.Swap(ctx, wishName, before, b)
		}
		if err == nil {
			q.wish = w
			return nil
		}
		if !errors.Is(err, register.ErrConflict) {
			return fmt.Errorf("asking for it: %w", err)
		}
	}
}

// Await returns the signed statement when it is decided.
func (q *PauseRequest) Await(ctx context.Context, sleep func(context.Context, time.Duration) error) (note []byte, err error) {
	for {
		said, err := q.said(ctx)
		if err != nil {
			return nil, err
		}
		switch {
		case said == nil || ofPause(said.Note) == q.wish.after:
		case said.Resumed == !q.Pause && said.Reason == q.Reason && said.Text == q.Text:
			return said.Note, nil
		default:
			return nil, fmt.Errorf("%w, at %s: %s: %s", ErrPauseOvertaken, said.Time, said.Reason, said.Text)
		}
		const every = 200 * time.Millisecond
		if err := sleep(ctx, every); err != nil {
			return nil, fmt.Errorf("nobody has published it yet (it stays asked for): %w", err)
		}
	}
}

// said is the newest statement that was decided; nil if there is none.
func (q *PauseRequest) said(ctx context.Context) (*leaf.Pause, error) {
	b, err := q.Register.Load(ctx, markName)
	if err != nil {
		return nil, fmt.Errorf("reading the publication mark: %w", err)
	}
	if b == nil {
		return nil, nil
	}
	m, err := parseMark(b, q.Origin)
	if err != nil {
		return nil, fmt.Errorf("reading the publication mark: %w", err)
	}
	return decodePause(m.pause)
}

// decodePause reads the note of a pause or a resumption; nil of no bytes.
func decodePause(note []byte) (*leaf.Pause, error) {
	if len(note) == 0 {
		return nil, nil
	}
	for _, resumed := range []bool{false, true} {
		b, err := leaf.Append(nil, &leaf.Pause{Resumed: resumed, Note: note})
		if err != nil {
			continue // it is one of the other kind
		}
		if l, err := leaf.Decode(b); err == nil {
			return l.(*leaf.Pause), nil
		}
	}
	return nil, fmt.Errorf("%.60q: want the signed note of a pause or a resumption (%s)", note, schemas.PauseKey)
}
