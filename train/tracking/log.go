package tracking

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// console is a slog.Handler for people: the message, its attributes, and in front the level of what is no mere
// information. It leaves the form of attributes to slog's text handler.
type console struct {
	out   io.Writer
	attrs func(io.Writer) slog.Handler
}

func newConsole(out io.Writer) console {
	return console{out, func(w io.Writer) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		}})
	}}
}

func (c console) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (c console) Handle(ctx context.Context, r slog.Record) error {
	var line strings.Builder
	if r.Level != slog.LevelInfo {
		line.WriteString(strings.ToLower(r.Level.String()) + ": ")
	}
	line.WriteString(r.Message)
	line.WriteByte(' ')
	if err := c.attrs(&line).Handle(ctx, r); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, strings.TrimRight(line.String(), " \n")+"\n")
	return err
}

func (c console) WithAttrs(as []slog.Attr) slog.Handler {
	return c.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(as) })
}

func (c console) WithGroup(name string) slog.Handler {
	return c.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (c console) with(change func(slog.Handler) slog.Handler) console {
	before := c.attrs
	c.attrs = func(w io.Writer) slog.Handler { return change(before(w)) }
	return c
}
