package cloud

import (
	"context"
	"io"
	"log/slog"
)

// RunTo is Run with another output.
func (c *SetupCommand) RunTo(ctx context.Context, log *slog.Logger, out io.Writer) error {
	return c.run(ctx, log, out)
}
