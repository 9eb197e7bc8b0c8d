# The most frequent word, as JSON on standard output.
{ for (i = 1; i <= NF; i++) if (++count[$i] > count[most]) most = $i }
END { printf "{\"word\": \"%s\", \"times\": %d}\n", most, count[most] }
