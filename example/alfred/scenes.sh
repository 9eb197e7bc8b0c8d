# Prints a task per scene.
for scene in $(seq "$1"); do
    echo "Task {Scene $scene} -cmds { RemoteCmd {echo scene $scene is shot} }"
done
