"""Still lifes drawn by a ray caster: pictures to try and to test on, nobody's photographs."""
