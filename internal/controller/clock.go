package controller

import "time"

// systemClock is the time as the machine has it.
type systemClock struct{}

// Now implements provider.Clock.
func (systemClock) Now() time.Time { return time.Now() }

// After implements provider.Clock.
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
