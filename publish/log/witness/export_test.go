package witness

import (
	"context"
	"io"
	"log/slog"

	"tallystream/publish/log"
)

// Follow is what Run does with a source.
func (c *Command) Follow(ctx context.Context, w *Witness, tiles log.Tiles, logger *slog.Logger, stdout io.Writer) error {
	c.stdout = stdout
	return c.follow(ctx, w, tiles, logger)
}
