// Package trial runs the real program against the stand-in and a real PostgreSQL, lets a test do harm to it at a call of its
// choice, and judges what is left.
//
// The program is the executable "bulksub" on the PATH: a test binary that is the program as well (testscript), or one
// that a TestMain has built. [Program] runs it and holds every word of it to P8; [Watch] has the database note what no
// look afterwards can find; [Case] is the judge.
package trial
