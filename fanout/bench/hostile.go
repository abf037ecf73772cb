package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// alertTimeout is how long viewers may give no sign of life, in this run.
const alertTimeout = 12 * time.Second

// hostileCommand is `bench hostile`.
type hostileCommand struct {
	Connections int           `help:"Honest viewers." default:"10000"`
	Offenders   int           `help:"Offenders of each kind at a time; handshakes are always 100." default:"20"`
	Deltas      int           `help:"Deltas of a measurement, one a second; offenders need 20 s to be closed for silence." default:"20"`
	Rounds      int           `help:"Measurements without and with offenders, in turns." default:"3"`
	From        string        `help:"Address of this machine that offenders come from; loopback has no limits. Default: the first one."`
	Patience    time.Duration `help:"How long connections are waited for." default:"60s"`
	JSON        bool          `help:"Write JSON."`
}

// hostileReport is what the run printed. Latencies are milliseconds, one for each
// round.
type hostileReport struct {
	Connections int       `json:"connections"`
	Alone       []float64 `json:"alone_p99"`
	Beside      []float64 `json:"beside_p99"`
	AloneP50    []float64 `json:"alone_p50"`
	BesideP50   []float64 `json:"beside_p50"`
	Missed      uint64    `json:"missed"`
	Lost        uint64    `json:"lost"`
	Offenders   mobReport `json:"offenders"`
	// CPU of the server a second, without and with them.
	AloneCPU  []float64 `json:"alone_cpu"`
	BesideCPU []float64 `json:"beside_cpu"`
}

// Run exits with an error if honest viewers noticed, or an offender was closed
// for something else than what it did.
func (c *hostileCommand) Run(ctx context.Context) error {
	if c.Rounds < 1 || c.Connections < 1 || c.Deltas < 1 || c.Offenders < 1 {
		return errors.New("rounds, connections, deltas and offenders want numbers above 0")
	}
	r, err := c.play(ctx)
	if r == nil {
		return err
	}
	return errors.Join(err, show(os.Stdout, r, c.JSON), r.verdict())
}

func (c *hostileCommand) play(ctx context.Context) (_ *hostileReport, err error) {
	self, err := crowdCommand()
	if err != nil {
		return nil, err
	}
	from := c.From
	if from == "" {
		if from, err = outerAddress(); err != nil {
			return nil, err
		}
	}
	k, err := kindNamed("epoll")
	if err != nil {
		return nil, err
	}
	m := &measurement{kind: k, self: self, sizes: sizes{connections: c.Connections, perServer: c.Connections, bytes: 576, processes: 1, patience: c.Patience}}
	if m.servers, err = startServers(1, setup{Kind: k.name, Bytes: m.sizes.bytes, Alert: true, Open: true}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.servers.close()) }()
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.crew.Close()) }()
	r := &hostileReport{Connections: c.Connections, Offenders: mobReport{}}
	port := m.servers[0].address.Port()
	for i := range c.Rounds {
		fmt.Fprintf(os.Stderr, "%s  round %d of %d\n", time.Now().Format(time.TimeOnly), i+1, c.Rounds)
		if err := c.round(ctx, m, r, mobPlan{Address: net.JoinHostPort(from, fmt.Sprint(port)), Each: c.Offenders}); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// round measures without offenders, then with them.
func (c *hostileCommand) round(ctx context.Context, m *measurement, r *hostileReport, p mobPlan) error {
	look := func(p50, p99, cpu *[]float64) error {
		before, err := m.servers.usage()
		if err != nil {
			return err
		}
		begun := time.Now()
		s, err := m.spell(ctx, c.Deltas, m.pace)
		if err != nil {
			return err
		}
		after, err := m.servers.usage()
		if err != nil {
			return err
		}
		*p50, *p99 = append(*p50, s.Latency.P50), append(*p99, s.Latency.P99)
		*cpu = append(*cpu, (after.CPUSeconds-before.CPUSeconds)/time.Since(begun).Seconds())
		r.Missed += s.Missed
		for _, n := range s.Lost {
			r.Lost += n
		}
		return nil
	}
	if err := look(&r.AloneP50, &r.Alone, &r.AloneCPU); err != nil {
		return err
	}
	mob, err := startMob(p)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(time.Second): // they are all there
	}
	err = look(&r.BesideP50, &r.Beside, &r.BesideCPU)
	did, ended := mob.end()
	for kind, codes := range did {
		for code, n := range codes {
			r.Offenders.count(kind, code, n)
		}
	}
	return errors.Join(err, ended)
}

// outerAddress is an address of this machine that others see.
func outerAddress() (string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("finding this machine's addresses: %w", err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address but loopback, for which there are no limits: add one, and name it with --from")
}

// verdict says what was wrong, if anything was.
func (r *hostileReport) verdict() error {
	var errs []error
	if r.Missed+r.Lost > 0 {
		errs = append(errs, fmt.Errorf("honest viewers missed %d deliveries, and %d were lost", r.Missed, r.Lost))
	}
	if alone, beside := median(r.Alone), median(r.Beside); beside > 1.1*alone {
		errs = append(errs, fmt.Errorf("p99 of honest viewers moved from %.1f to %.1f ms, by more than a tenth", alone, beside))
	}
	for _, o := range offences() {
		codes := r.Offenders[o.name]
		if codes[o.code] == 0 {
			errs = append(errs, fmt.Errorf("nobody who %s was closed with %s", o.name, o.code))
		}
		for code, n := range codes {
			if code != o.code && code != tooOften && code != unfinished {
				errs = append(errs, fmt.Errorf("%d who %s were closed with %s, want %s", n, o.name, code, o.code))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *hostileReport) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d honest viewers, one delta a second; latency in ms, CPU of the server in processors\n", r.Connections)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\talone p50\tp99\tCPU\tbeside p50\tp99\tCPU\t")
	row := func(name string, of func([]float64) float64) {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t\n", name, of(r.AloneP50), of(r.Alone), of(r.AloneCPU), of(r.BesideP50), of(r.Beside), of(r.BesideCPU))
	}
	for i := range r.Alone {
		row(fmt.Sprint(i+1), func(all []float64) float64 { return all[i] })
	}
	row("median", median)
	_ = t.Flush() // into memory
	fmt.Fprintf(&b, "p99 moved by %+.0f%%; missed %d, lost %d\n", 100*(median(r.Beside)/median(r.Alone)-1), r.Missed, r.Lost)
	for _, o := range offences() {
		var codes []string
		for _, code := range slices.Sorted(maps.Keys(r.Offenders[o.name])) {
			codes = append(codes, fmt.Sprintf("%s: %d", code, r.Offenders[o.name][code]))
		}
		fmt.Fprintf(&b, "  %-26s want %-8s got %s\n", o.name, o.code, strings.Join(codes, ", "))
	}
	return b.String()
}

// mob is a process of offenders.
type mob struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func startMob(p mobPlan) (*mob, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	m := &mob{cmd: exec.Command(program, "mob")}
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting offenders: %w", err)
	}
	if m.out, err = m.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("starting offenders: %w", err)
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting offenders: %w", err)
	}
	if err := json.NewEncoder(m.in).Encode(p); err != nil {
		_, ended := m.end()
		return nil, errors.Join(fmt.Errorf("telling offenders: %w", err), ended)
	}
	return m, nil
}

// end ends the process, which says what became of everybody.
func (m *mob) end() (mobReport, error) {
	var r mobReport
	err := m.in.Close()
	if read := json.NewDecoder(m.out).Decode(&r); read != nil {
		err = errors.Join(err, fmt.Errorf("listening to offenders: %w", read))
	}
	return r, errors.Join(err, m.cmd.Wait())
}
