# Runs the scripts of a folder in order; one that succeeds is removed, any other is there for the next boot.
status=0
for script in "${0%/*}/$1.d"/*; do
  if [ -f "$script" ]; then
    if /bin/bash "$script"; then rm -f "$script"; else status=1; fi
  fi
done
exit $status
