package service

import (
	"io"
	"log/slog"
)

// LogOptions are the flags of every command that logs.
type LogOptions struct {
	LogLevel  slog.Level `help:"Least level that is logged: debug, info, warn or error." default:"info" env:"TALLYSTREAM_LOG_LEVEL"`
	LogFormat string     `help:"Form of log lines: text or json." enum:"text,json" default:"text" env:"TALLYSTREAM_LOG_FORMAT"`
}

// Logger makes the process's logger.
func (o LogOptions) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.LogLevel}
	if o.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}
