package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"tallystream/service/cloud"
)

// Misconfiguration is one thing that an operator has to put right.
type Misconfiguration struct {
	Setting string // flag, variable or file: where to look
	Problem string // what is wrong with it
	Advice  string // what to do
}

func (m Misconfiguration) String() string {
	s := m.Setting + ": " + m.Problem
	if m.Advice != "" {
		s += ": " + m.Advice
	}
	return s
}

// ConfigurationError is everything that is wrong with a process's
// configuration. It is told at the start and all at once: who mends one fault
// and waits for the next spends the evening so.
type ConfigurationError struct{ Found []Misconfiguration }

func (e *ConfigurationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d faults:", len(e.Found))
	if len(e.Found) == 1 {
		b.Reset()
		b.WriteString("the configuration has a fault:")
	}
	for i, m := range e.Found {
		fmt.Fprintf(&b, "\n  %d. %s", i+1, m)
	}
	return b.String()
}

// ExitCode tells a supervisor a bad configuration from a process that failed
// (sysexits.h: EX_CONFIG).
func (*ConfigurationError) ExitCode() int { return 78 }

// Preflight looks for faults of the configuration. It changes nothing anywhere.
type Preflight struct {
	World World
	Log   *slog.Logger // told what is no reason not to start

	found []Misconfiguration
}

// World is what a preflight asks.
type World struct {
	Getenv func(string) string
	Now    func() time.Time
	// Lookup finds the addresses of a host.
	Lookup func(ctx context.Context, host string) ([]string, error)
	// Cloud are choices for the AWS clients.
	Cloud []cloud.Option
}

// RealWorld is this machine and its network.
func RealWorld() World {
	return World{Getenv: os.Getenv, Now: time.Now, Lookup: net.DefaultResolver.LookupHost}
}

// preflightTimeout bounds all questions together.
const preflightTimeout = 30 * time.Second

// CheckConfiguration looks for everything that is wrong with the configuration
// of a service (ingest, aggregate, publish or fanout), and returns a
// *ConfigurationError with all of it.
func CheckConfiguration(ctx context.Context, name string, o Options, log *slog.Logger) error {
	p := &Preflight{World: RealWorld(), Log: log}
	return p.Run(ctx, name, o)
}

// Run checks what can be read, then what can be asked.
func (p *Preflight) Run(ctx context.Context, name string, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	p.files(name, o)
	p.addresses(o)
	if o.Stores == AWS {
		p.environment()
		p.cloud(ctx, name, o)
	}
	return p.Err()
}

// Wrong notes a fault, once.
func (p *Preflight) Wrong(setting, advice, problem string, args ...any) {
	m := Misconfiguration{Setting: setting, Problem: fmt.Sprintf(problem, args...), Advice: advice}
	for _, known := range p.found {
		if known == m {
			return
		}
	}
	p.found = append(p.found, m)
}

// Check notes an error that says itself what to do. One that begins with a flag
// is that flag's fault.
func (p *Preflight) Check(setting string, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	if flag, rest, ok := strings.Cut(text, " "); ok && strings.HasPrefix(flag, "--") {
		setting, text = strings.TrimSuffix(flag, ":"), rest
	}
	p.Wrong(setting, "", "%s", text)
}

// Err is all that was noted, or nil.
func (p *Preflight) Err() error {
	if len(p.found) == 0 {
		return nil
	}
	return &ConfigurationError{p.found}
}

// passing are troubles that go by: a service that starts again in the middle
// of a night must not stay away for them.
var passing = map[cloud.Kind]bool{
	cloud.Slow: true, cloud.Throttled: true, cloud.Quota: true, cloud.Busy: true, cloud.Fault: true, cloud.UnknownCall: true,
}

// general are troubles of all calls alike, told once and not for each.
var general = map[cloud.Kind]string{
	cloud.NoRegion: "--aws-region", cloud.NoCredentials: "AWS credentials", cloud.NoProfile: "--aws-profile", cloud.BadKeys: "AWS credentials",
	cloud.Expired: "AWS credentials", cloud.NotAWS: "--aws-endpoint",
}

// refused notes what AWS says against a call. What is not a fault of the
// configuration is only logged.
func (p *Preflight) refused(ctx context.Context, setting string, err error) {
	var problem *cloud.Problem
	if !errors.As(cloud.Explain(err), &problem) {
		p.Check(setting, err)
		return
	}
	switch {
	case passing[problem.Kind]:
		p.Log.WarnContext(ctx, "configuration not checked", "setting", setting, "err", problem)
		return
	case problem.Kind == cloud.ClockSkew:
		return // the clock is measured besides
	}
	what := string(problem.Kind)
	if at, ok := general[problem.Kind]; ok {
		setting = at
	} else if problem.Subject != "" {
		what += " (" + problem.Subject + ")"
	}
	p.Wrong(setting, problem.Advice, "%s", what)
}
