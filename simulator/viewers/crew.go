package viewers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Crew is the processes of a load, seen from the one that started them.
type Crew struct {
	members []*member
}

// member is one process, or a part of this one.
type member struct {
	in      io.WriteCloser
	process *os.Process // nil: a part of this process
	ended   chan struct{}
	err     error // valid when ended is closed

	writing sync.Mutex // guards writes to in

	mu     sync.Mutex // guards the rest; never held over a write
	next   uint64
	waits  map[uint64]chan *Tally
	latest *Tally
}

// Start starts one process for each plan. self makes the command that calls
// Work with its standard input and output; nil: everything happens in this
// process.
func Start(ctx context.Context, plans []*Plan, self func() *exec.Cmd) (*Crew, error) {
	c := new(Crew)
	for _, p := range plans {
		m, err := startMember(ctx, self)
		if err == nil {
			c.members = append(c.members, m)
			err = m.write(p)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("starting viewers: %w", err), c.Close())
		}
	}
	return c, nil
}

func startMember(ctx context.Context, self func() *exec.Cmd) (*member, error) {
	m := &member{ended: make(chan struct{}), waits: map[uint64]chan *Tally{}, latest: newTally()}
	if self == nil {
		in, order := io.Pipe()
		answer, out := io.Pipe()
		m.in = order
		failed := make(chan error, 1)
		go func() {
			err := Work(ctx, in, out)
			_ = out.Close() // a pipe's close does not fail
			_ = in.Close()
			failed <- err
		}()
		go m.listen(answer, func() error { return <-failed })
		return m, nil
	}
	cmd := self()
	cmd.Stderr = os.Stderr
	detach(cmd)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a process: %w", err)
	}
	m.in, m.process = in, cmd.Process
	go m.listen(out, cmd.Wait)
	return m, nil
}

func (m *member) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("telling a process: %w", err)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if _, err := m.in.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("telling a process: %w", err)
	}
	return nil
}

// listen takes in what the process says until it ends.
func (m *member) listen(out io.Reader, wait func() error) {
	read := json.NewDecoder(out)
	for {
		t := told{Tally: newTally()}
		if err := read.Decode(&t); err != nil {
			break // it ended, or is about to: wait says why
		}
		m.mu.Lock()
		if t.ID == 0 {
			m.latest = t.Tally
		}
		if w := m.waits[t.ID]; w != nil {
			w <- t.Tally
			delete(m.waits, t.ID)
		}
		m.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out)
	m.err = wait()
	close(m.ended)
}

// do gives an order and waits for its answer.
func (m *member) do(ctx context.Context, o order) (*Tally, error) {
	answer := make(chan *Tally, 1)
	m.mu.Lock()
	m.next++
	o.ID = m.next
	m.waits[o.ID] = answer
	m.mu.Unlock()
	if err := m.write(o); err != nil {
		return nil, err
	}
	select {
	case t := <-answer:
		return t, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.ended:
		return nil, fmt.Errorf("a process of viewers ended: %w", errors.Join(m.err, io.ErrUnexpectedEOF))
	}
}

// all gives every process an order and adds the answers up.
func (c *Crew) all(ctx context.Context, o order) (*Tally, error) {
	tallies, errs := make([]*Tally, len(c.members)), make([]error, len(c.members))
	var group sync.WaitGroup
	for i, m := range c.members {
		group.Go(func() { tallies[i], errs[i] = m.do(ctx, o) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	out := newTally()
	for _, t := range tallies {
		out.Merge(t)
	}
	return out, nil
}

// Tally is what all viewers have seen until now.
func (c *Crew) Tally(ctx context.Context) (*Tally, error) { return c.all(ctx, order{Do: "tally"}) }

// Counts are the numbers of Tally alone, for callers who ask often.
func (c *Crew) Counts(ctx context.Context) (Counts, error) {
	t, err := c.all(ctx, order{Do: "counts"})
	if err != nil {
		return Counts{}, err
	}
	return t.Counts, nil
}

// Latest is what they had seen half a second ago, at no cost.
func (c *Crew) Latest() *Tally {
	out := newTally()
	for _, m := range c.members {
		m.mu.Lock()
		out.Merge(m.latest)
		m.mu.Unlock()
	}
	return out
}

// Storm cuts a share of the connections off at once. Each viewer comes back at a
// time of its own below within.
func (c *Crew) Storm(ctx context.Context, share float64, within time.Duration) error {
	_, err := c.all(ctx, order{Do: "storm", Share: share, Within: within})
	return err
}

// Settle waits, as long as patience, until every viewer has the newest version
// that any of them had when it was called, and every sampled one its bytes. The
// result says who has not.
func (c *Crew) Settle(ctx context.Context, patience time.Duration) (*Tally, error) {
	now, err := c.all(ctx, order{Do: "heads"})
	if err != nil {
		return nil, err
	}
	return c.all(ctx, order{Do: "settle", Heads: now.Heads, Within: patience})
}

// WaitOpen waits until every viewer is connected.
func (c *Crew) WaitOpen(ctx context.Context) (*Tally, error) {
	for {
		t, err := c.Tally(ctx)
		if err != nil || t.Open == t.Viewers {
			return t, err
		}
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("waiting for viewers: %d of %d are connected: %w", t.Open, t.Viewers, context.Cause(ctx))
		case <-time.After(c.pollEvery()):
		}
	}
}

// pollEvery is how often many processes may be asked.
func (c *Crew) pollEvery() time.Duration {
	return max(100, 20*time.Duration(len(c.members))) * time.Millisecond
}

// Processes are the ids of the processes; none if the viewers are in this one.
func (c *Crew) Processes() []int {
	var out []int
	for _, m := range c.members {
		if m.process != nil {
			out = append(out, m.process.Pid)
		}
	}
	return out
}

// closePatience bounds the wait for processes to end: the kernel closes some
// ten thousand connections a second, both ends on one machine, and a process is
// not done before.
func closePatience(viewers uint64) time.Duration {
	return 10*time.Second + time.Duration(viewers)*500*time.Microsecond
}

// Close ends all connections and processes.
func (c *Crew) Close() error {
	var errs []error
	for _, m := range c.members {
		errs = append(errs, m.in.Close())
	}
	late, stop := context.WithTimeout(context.Background(), closePatience(c.Latest().Viewers))
	defer stop()
	for _, m := range c.members {
		select {
		case <-m.ended:
		case <-late.Done():
			if m.process != nil {
				errs = append(errs, errors.New("viewers did not end in time"), m.process.Kill())
			}
			<-m.ended
		}
		errs = append(errs, m.err)
	}
	return errors.Join(errs...)
}
