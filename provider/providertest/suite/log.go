package suite

import (
	"bytes"
	"log"
	"log/slog"
	"sync"
)

// Log keeps what is logged. Safe for concurrent use.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Listen makes a Log the default of slog and log until the test ends.
func Listen(t T) *Log {
	l := &Log{}
	old, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(l.Logger()) // takes package log along
	t.Cleanup(func() {
		slog.SetDefault(old)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	return l
}

// Logger returns a logger that the Log keeps everything of, whatever its level.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.Level(-128)}))
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// Take returns what was logged since the last Take.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.buf.String()
	l.buf.Reset()
	return s
}
